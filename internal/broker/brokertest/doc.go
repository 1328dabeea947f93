// Package brokertest has identity providers for tests: an OpenID provider, GitHub
// and a SAML identity provider, each over real connections, each able to
// misbehave. Their keys are made for the test.
package brokertest
