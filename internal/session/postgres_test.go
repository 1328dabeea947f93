package session_test

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestFixation, TestRaiseDoesNotLengthenLife, TestOneRaiseWins, TestRevocationIsSeenAtOnce, TestRevoke, TestRevokeAll, TestRevokeAllTx, TestRevocationIsWhole, TestLookupDoesNotWaitForWriters, TestPurge, TestPurgeOfMany, TestCreateAndLookup, TestFind, TestCreateRefuses, TestLifetimes, TestIdleIsExactToAMinute, TestListIsSortedAndBounded, TestGarbageCostsNothing, TestLevelFades, TestRaise, TestHooks)
}
