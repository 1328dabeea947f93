package oauth_test

import (
	"testing"

	"sallyport.dev/internal/store/pgtest"
)

func TestPostgres(t *testing.T) {
	pgtest.Run(t, TestCodeFlow, TestCodeReplay, TestRaces, TestRefreshReuse, TestConsent, TestBrowserBinding, TestDeviceFlow, TestBank, TestAssertions,
		TestClientCredentials, TestIntrospection, TestExchange, TestSessions, TestRegistry, TestLogout,
		TestIDComesAgain, TestScopeTakenFromClient, TestCodeOfEndedSession, TestSparedSession, TestAssertionOfNobody, TestEndClients, TestMapClients,
		TestBoundElsewhere, TestEssential,
		TestAssertionEverywhere, TestBindings, TestBoundFromNowOn, TestClientOfLaggingProcess, TestClientGoneMeanwhile, TestConsentOfEndedSession)
}
