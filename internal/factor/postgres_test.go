package factor_test

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestRegistrationOptions, TestPasskeyLogsIn, TestLoginRefuses, TestRegistrationRefuses, TestSessionsAreBound,
		TestAssert, TestChallengeIsSpent, TestRemovedPasskeyIsRefused, TestCounterRegressionIsTold, TestPlantedPasskeyDoesNotOpen,
		TestEnableTOTP, TestCheckTOTP, TestStepIsAcceptedOnce, TestPlantedSecretDoesNotOpen, TestRecoveryCodes, TestCodeIsUsedOnce,
		TestListAndHas, TestRename, TestRemove, TestRemoveAll, TestAnotherRPIDIsRefused, TestNewAtOnce, TestNothingAtRest)
}
