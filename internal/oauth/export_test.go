package oauth

// What is fuzzed.
var (
	ParseForm          = parseForm
	CheckAuthorization = checkAuthorization
	ParseBasic         = parseBasic
	SameButPort        = sameButPort
)
