package join

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestRedeem, TestTokensExpire, TestWrongSecretsBurnTheToken, TestRefusalsReadTheSame, TestRedeemedOnce, TestGuessesAtOnceAreCounted, TestOpenTokensAreBounded, TestListAndRevoke, TestRestart, TestStore)
}
