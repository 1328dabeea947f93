package mail

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestDelivered, TestRolledBack, TestRun, TestRender, TestRenderedOnce, TestSealedAtRest, TestFull,
		TestRetries, TestServerAway, TestLease, TestTwoWorkers, TestOwed, TestSweep, TestSweepIsWhole, TestStatus, TestAltered)
}
