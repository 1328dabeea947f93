package identity

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, append(accountTests(), TestAddUser, TestAddUserAtOnce, TestUsersPages, TestRightsChange, TestRightsOfNobody, TestStoreDown, TestSessionsEndWithTheChange, TestGrantAndRevokeRoles, TestRolesAtOnce, TestLoginTellsNothing, TestLoginRenewsOutdatedHash, TestLoginAgainstChange, TestLoginEndsThePriorSession, TestLoginsAtOnce, TestForeignGarbageInTheStore, TestRegisterJSON, TestLoginJSON, TestStrictRequests, TestSessions, TestAccountGoneMeanwhile, TestHeldOpen, TestStepsTellNothing, TestGuessingIsBounded, TestSecondFactor, TestSecondFactorAtOnce, TestSecondFactorAgainstChange, TestNewDevice, TestEnroll, TestAgedPassword, TestAdministrators, TestBootstrap, TestBootstrapEnds, TestStepUpByPassword, TestStepUpBySecondFactor, TestFactors, TestPasskeyLogin, TestLogoutEverywhere, TestLeaving)...)
}
