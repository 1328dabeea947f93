package app

import "context"

// mailStatus tells of the letters that wait. Nil: the zone has no mail.
func (s *system) mailStatus(ctx context.Context) *MailStatus {
	if s.accounts.outbox == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	of, err := s.accounts.outbox.Status(ctx)
	if err != nil { // with the store away, the rest of the status is to be seen
		return &MailStatus{Error: waitsForStore}
	}
	st := &MailStatus{
		Waiting: of.Waiting, Limit: of.Limit, Cause: of.Cause, GivenUp: of.GivenUp, Failure: of.Failure,
		Oldest: stamp(of.Oldest), Failing: stamp(of.Failing),
	}
	for _, c := range of.Causes {
		st.Causes = append(st.Causes, MailCause(c))
	}
	return st
}
