package logs

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestRollUp, TestRollUpCountsWhatIsDurable, TestRollUpKinds, TestRollUpOfAnOlderCopy, TestRollUpOnce, TestPurge, TestCountsAreBounded, TestSeriesAreBounded)
}
