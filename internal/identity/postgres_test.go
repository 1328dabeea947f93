package identity

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestAddUser, TestAddUserAtOnce, TestUsersPages, TestRightsChange, TestRightsOfNobody, TestStoreDown, TestCreateKey, TestResolveKeyRefuses, TestKeyExpires, TestRevokeKey, TestRotateKey, TestRotationForgets, TestKeyUse, TestSessionsEndWithTheChange, TestGrantAndRevokeRoles, TestRolesAtOnce, TestKeyByNameOrID, TestKeyUseWaitsForNobody, TestLoginTellsNothing, TestLoginRenewsOutdatedHash, TestLoginAgainstChange, TestLoginEndsThePriorSession, TestLoginsAtOnce, TestOutdatedHashIsRenewed, TestForeignGarbageInTheStore, TestRegisterJSON, TestLoginJSON, TestStrictRequests, TestSessions, TestAccountGoneMeanwhile)
}
