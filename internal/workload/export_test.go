package workload

// Refresh tells open streams to look again, before they do so by themselves.
func (s *Server) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}
