package broker

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestSAMLLogin, TestReplay, TestNoReplayStore, TestRequestKey)
}
