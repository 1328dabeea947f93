package pki

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestHandshake, TestRestartKeepsTheCA, TestWhatDoesNotFitIsRefused, TestForeignIntermediatesAreRefused, TestIntermediatesAreRenewedWithOverlap, TestRunsWithoutTheRootKey, TestIssueSVIDAtOnce)
}
