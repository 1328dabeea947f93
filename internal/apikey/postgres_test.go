package apikey

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestCreateKey, TestResolveKeyRefuses, TestKeyExpires, TestRevokeKey, TestRotateKey, TestRotationForgets, TestKeyUse,
		TestKeyByNameOrID, TestKeyUseWaitsForNobody, TestStoreDown, TestNothingInClearAtRest, TestAddresses, TestAddressesThatCannotBeRead,
		TestCreateOwned, TestOwnedKeysOfOthers, TestOwnerEnds, TestOwnedAreBounded, TestOwnedScopesFollowTheMap,
		TestRemind, TestRemindOnlyTheLast, TestRemindAnew, TestRemindAfterAFailure, TestRemindOnce, TestDueByPages,
		TestSigningKeys, TestSigningRefusals, TestRemoveSigning, TestSigningMoved, TestSigningForgets, TestSigningUse, TestOwnedSigning)
}
