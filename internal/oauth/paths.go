package oauth

// PathsOf returns all operations for who wants to know them without a provider:
// their handlers are not to be called.
func PathsOf() []Route { return new(Provider).Routes() }
