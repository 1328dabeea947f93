package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/store/pgtest"
)

// twinsSuite is the test under which others run again, over two processes.
const twinsSuite = "TestTwinsSuite"

// TestTwinsSuite runs the tests of this package once more, each zone served by two
// processes over PostgreSQL and Valkey at once: connections, requests of one
// client and verbs of the command line go to one and the other in turn.
func TestTwinsSuite(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t) // skips all of them, once, where there is no server
	t.Run("BothServe", bothServe)
	t.Run("HeardWithinASecond", heardWithinASecond)
	for _, test := range overTwins() {
		t.Run(nameOf(test), test)
	}
}

// bothServe is the positive control of the suite: what a test does meets both
// processes, and their records are found as those of one zone.
func bothServe(t *testing.T) {
	t.Parallel()
	attempts(t, bothServeOnce)
}

func bothServeOnce(a *attempt) {
	z := startZone(a, calmTwinMap, map[string]string{"plain": startUpstream(a, nil).address})
	alice, client := z.addUser("alice@shop.example"), z.client()
	token := z.login(alice)
	var ids []string
	for range 6 {
		got := z.do(call{path: "/mine", bearer: token, client: client})
		if got.Status != 200 {
			a.Errorf("%d %s", got.Status, got.Body)
		}
		if hasty(got) {
			a.disturbed = "the machine may have been busy"
		}
		ids = append(ids, got.ID)
	}
	for i, w := range z.pair.each {
		out, errs, code := z.exec("logs", "--service", "plain", "--format", "json", "--data", w.data)
		if list := parseRecords(a, out); code != 0 || len(list) != 3 {
			a.Errorf("process %d has %d records of 6 requests: %d %s", i, len(list), code, errs)
		}
	}
	var found []string
	for _, r := range z.records("--service", "plain", "--limit", "5") {
		found = append(found, r.CorrelationID)
	}
	if !slices.Equal(found, ids[1:]) {
		a.Errorf("the newest five records are of %q, want %q", found, ids[1:])
	}
	z.must("session", "revoke", alice.Email)
	for range 2 {
		if got := z.settled(call{path: "/mine", bearer: token, client: client}); got.Status != 401 || got.reason() != "auth.revoked" {
			a.Errorf("after it was revoked: %d %s", got.Status, got.reason())
		}
	}
}

// heardWithinASecond: what one process does to rights is known to both a second
// later, time after time.
func heardWithinASecond(t *testing.T) {
	t.Parallel()
	z := startZone(t, calmTwinMap, map[string]string{"plain": startUpstream(t, nil).address})
	attempts(t, func(a *attempt) {
		for range 5 {
			if took := z.hear(); took > time.Second {
				a.disturbed = "the machine may have been busy"
				a.Fatalf("it took %v until both processes had heard of it, promised is a second", took)
			}
		}
	})
}

// overTwins are the tests that run over two processes, by the files that they are in.
func overTwins() []func(*testing.T) {
	return []func(*testing.T){
		TestMetrics, TestAdminAnswersToItsOwnHostOnly, TestOnlyDeclaredRoutesAnswer,
		TestSizes, TestSlowClients,
		TestHangup, TestTrustedProxies, TestNamesOfTheMapCanBeGiven,
		TestClientCertificates, TestCertificateFiles,
		TestExchangeInside, TestFormLogin, TestGuessing, TestCrossSiteRequests, TestSessionsOfAUser,
		TestKill,
		TestSessionsExpire,
		TestUpstreamMisbehaves,
		TestHTTP2Floods,
		TestTrapFraming, TestUnreadRequestsAreRecorded, TestWellFramedRequestsPass, TestBodiesOfRefusedRequests,
		TestTrapHeaders, TestUpgrades,
		TestHTTP2Messages,
		TestInnerDoorCalls, TestInnerDoorDrain,
		TestInnerDoorChain,
		TestInnerDoorStale, TestInnerDoorShortStaleness,
		TestInnerDoorMisbehaving, TestInnerDoorServiceDown, TestInnerDoorServiceSlow, TestInnerDoorUploads, TestInnerDoorOutboundFaults, TestInnerDoorOwner,
		TestInnerDoorStream,
		TestInnerDoorCrowded,
		TestInnerDoorHTTP2,
		TestInnerDoorJoinTokens, TestInnerDoorFalseControl,
		TestInnerDoorImpostorService,
		TestInnerDoorMiddleBox,
		TestInnerDoorStrangers, TestInnerDoorConnectionEnds, TestInnerDoorNoResumption,
		TestInnerDoorStolenToken, TestInnerDoorTampered, TestInnerDoorDoubledHeaders, TestInnerDoorDowngraded,
		TestInnerDoorReplayedSignature, TestInnerDoorReplayedToAnotherReplica,
		TestInnerDoorRestart, TestInnerDoorRestartWithoutToken, TestInnerDoorServiceRemoved,
		TestInnerDoorSniffed,
		TestInnerDoorWorkloadAPI,
		TestInsideToken,
		TestOneBadRouteDoesNotTakeTheServiceDown, TestPoisonedConnections, TestConnectionsClosedUnannounced, TestUpstreamDown,
		TestOneInstanceOfSeveralIsDead, TestUnixSocket, TestStatusTellsOfADeadService,
		TestStatus, TestCertificateRoot, TestLogin, TestRegister, TestKeyCreate,
		TestLimitIsExact, TestLimitEnds, TestLimitOfAListener,
		TestLogFields,
		TestLogFilters, TestLoginsAreOnRecordAtOnce,
		TestMatrix,
		TestForgedInsideNames, TestNamesOfARequest, TestAnswersTellNothingOfTheInside,
		TestNotEnforcedIsClosed, TestBadMapIsRefusedWhole,
		TestOutsideIssuer, TestOutsideIssuerBounds,
		TestReloadOnChange, TestReloadStreams, TestReloadInner, TestReloadMended, TestReloadGainsSidecar,
		TestRevocationIsImmediate, TestDisabledAndRemovedUsersCannotLogIn,
		TestShop, TestShopAsService, TestShopChain, TestLegacyHole, TestShopAttack,
		TestShopMatrix, TestServicesRefuseThePastGateway,
		TestStop, TestStopCutsWhatHangs,
		TestStream, TestAnswersBelongToTheirRequests,
		TestCallsOfServicesOnStreams,
		TestSocketsOfServices, TestSocketsOfServicesEnd,
		TestCallsThroughBothDoors, TestSocketsThroughBothDoors, TestStreamsEndThroughBothDoors, TestDrainsEndStreams,
		TestTrailersOfOneClient,
		TestHostAndServerName, TestListenersAreApart, TestWeakTLSIsRefused,
		TestTrapPaths, TestTrapTargets,
	}
}

// notOverTwins are those that do not, and why.
func notOverTwins() map[string]string {
	const (
		harness = "of the harness"
		engines = "starts engines and processes of its own"
		noZone  = "serves no zone of the harness"
		each    = "counts what each process counts for itself: "
		folder  = "looks into the folder of one process: "
		remade  = "writes its map anew with an address in it, which the harness does not make two of"
		site    = "drives a browser, or Node, at an address of its own; the main ones run over engines by themselves"
	)
	return map[string]string{
		"TestFront": harness, "TestTwinsSuiteIsWhole": harness, "TestPairPutsTogether": harness, "TestTwinsSuite": harness,
		"TestTwins": engines, "TestPausedTwin": engines, "TestStartAtOnce": engines, "TestEnginesAway": engines, "TestOverEngines": engines,
		"TestDemoLinesWorkAsPasted": noZone, "TestDemoWithoutNode": noZone, "TestReadme": noZone,

		"TestConnectionsAreBounded":   each + "connections to a listener",
		"TestInsideTokenIsCached":     each + "tokens that it has minted for a credential",
		"TestStreamsInConstantMemory": each + "memory",
		"TestInnerDoorControl":        "asks on many connections for the revision of one process; the maps of the two differ in where they listen",
		"TestFollow":                  folder + "the command line follows one journal",
		"TestRetention":               folder + "how large one journal is",
		"TestSecretsAreLoggedNowhere": folder + "what lies in the embedded store, as the positive control",
		"TestReloadSwappedFolder":     folder + "its map is a symbolic link, and those of the two are made from it",
		"TestExportJSONL":             folder + "one file, which two processes of one host would both write",
		"TestAccounts":                site,
		"TestAccountsControl":         site,
		"TestAccountsJSON":            site,
		"TestAccountsPrograms":        site,
		"TestBrokerDiscovery":         site,
		"TestBrokerMisbehaviour":      site,
		"TestBrokerOIDC":              site,
		"TestBrokerSAML":              site,
		"TestBrokerSAMLMisbehaviour":  site,
		"TestLives":                   remade,
		"TestOAuthProtocol":           site,
		"TestOutboxRestart":           site,
		"TestOpenIDCertificates":      site,
		"TestOpenIDFlows":             site,
		"TestOpenIDEnds":              remade,
		"TestOpenIDClientAdded":       site,
		"TestOpenIDClientEnds":        remade,
		"TestOpenIDScopeTaken":        remade,
		"TestOpenIDSessionRunsOut":    remade,
		"TestOpenIDCrossOrigin":       remade,
		"TestOpenIDKeysAreApart":      site,
		"TestOpenIDLogout":            site,
		"TestOpenIDRefusals":          site,
		"TestPasskeysBelongToURL":     site,
		"TestWhatStopsServe":          "nothing is served; one of its maps names engines of its own",
	}
}

func nameOf(test func(*testing.T)) string {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return name[strings.LastIndexByte(name, '.')+1:]
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// TestTwinsSuiteIsWhole: each test of this package runs over two processes, or
// there is a reason why it does not.
func TestTwinsSuiteIsWhole(t *testing.T) {
	t.Parallel()
	left := notOverTwins()
	for _, test := range overTwins() {
		if _, twice := left[nameOf(test)]; twice {
			t.Errorf("%s: it runs, and there is a reason why it does not", nameOf(test))
		}
		left[nameOf(test)] = "runs"
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the files of this package: %q %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			if left[string(m[1])] == "" {
				t.Errorf("%s in %s: neither does it run over two processes, nor is there a reason", m[1], file)
			}
			delete(left, string(m[1]))
		}
	}
	if len(left) > 0 {
		t.Errorf("there are no such tests: %q", slices.Sorted(maps.Keys(left)))
	}
}

// TestPairPutsTogether: metrics of two processes are one set, and records can be
// sorted by time in both forms.
func TestPairPutsTogether(t *testing.T) {
	t.Parallel()
	got := addMetrics([]map[string]float64{{`n{a="b"}`: 2, "up": 1, "half": 1}, {`n{a="b"}`: 3, "up": 1, "half": 0}},
		map[string]string{"n": "counter", "up": "gauge", "half": "gauge"})
	if want := map[string]float64{`n{a="b"}`: 5, "up": 1, "half": 0.5}; !maps.Equal(got, want) {
		t.Errorf("metrics: %v, want %v", got, want)
	}
	for line, want := range map[string]string{
		"2026-01-02 03:04:05.678 200 ok\n":                            "2026-01-02 03:04:05.678",
		`{"time":"2026-01-02T03:04:05.678901Z","correlation_id":"1"}`: `{"time":"2026-01-02T03:04:05.678901Z`,
		"\n": "\n",
	} {
		if got := timeOf(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
