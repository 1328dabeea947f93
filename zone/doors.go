package zone

// Doors are where the service is reached: by the gateway and by the services
// that call it. With an inner door it is always https, mutual TLS with the
// service's SPIFFE ID, also over a unix socket; without one it is the plain
// upstreams themselves.
func (s *Service) Doors() []Upstream {
	switch {
	case s.Sidecar != "":
		return []Upstream{{Scheme: "https", Network: "tcp", Address: s.Sidecar, URL: "https://" + s.Sidecar, Pos: s.Pos}}
	case s.Embedded:
		doors := make([]Upstream, len(s.Upstreams))
		for i, u := range s.Upstreams {
			u.Scheme = "https"
			doors[i] = u
		}
		return doors
	}
	return s.Upstreams
}
