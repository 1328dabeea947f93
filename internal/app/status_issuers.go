package app

// issuerStatus tells of the keys of outside issuers. It asks none of them.
func (s *system) issuerStatus() []IssuerStatus {
	list := []IssuerStatus{}
	for _, i := range s.creds.issuers.Load().States() {
		list = append(list, IssuerStatus{Name: i.Provider, Usable: i.Usable, Keys: i.Keys, Had: stamp(i.Fetched), Cause: i.Cause()})
	}
	return list
}
