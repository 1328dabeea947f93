package keys

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestRingSignsAndVerifiesTokens, TestRingWithoutDatabaseStopsSigning, TestPlantedRowsAreRefused, TestDamagedRowCanBeWithdrawn, TestTraceOfGoneKeysIsBounded, TestRotationIsNeverNoticed, TestOneActiveKeyForManyProcesses, TestRestartKeepsTheKeysAndWaits, TestPutGetDrop, TestMovedValueDoesNotOpen, TestCheckFindsTheWrongRoot, TestSecret)
}
