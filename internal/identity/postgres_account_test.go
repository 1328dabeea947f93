package identity

import "testing"

// accountTests are those of the account side that TestPostgres runs once more.
func accountTests() []func(*testing.T) {
	return []func(*testing.T){
		TestRegisterByLetter, TestVerifyExpires, TestUnverifiedIsClaimed, TestInvite, TestRecover, TestRecoverLinks,
		TestChangePassword, TestChangeEmail, TestChangeEmailTaken, TestExport, TestProfile, TestDeleteWithGrace, TestDeleteTakenBack, TestDeleteUserForgets,
		TestKeysJSON, TestProviderMakesAccount, TestProviderFlowIsBound, TestSAML, TestConnectFromAccount, TestLink, TestLinkWithFactor, TestNoTakeover,
		TestUnlink, TestImportLogsIn, TestImportFaults, TestRoundBySMTP,
		TestKeysOutlive, TestKeyLetters, TestLastFactorKeepsShortPassword, TestShortPasswordAgainstRemoval, TestResetFactors, TestStandingIsKept,
		TestFirstFactorEndsOthers, TestRequiredMeanwhile, TestWithdraw, TestInvitations,
	}
}
