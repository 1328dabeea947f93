package page

// contentPolicy lets a page load our style, script and images, speak to and send
// forms to this origin, and nothing else (CSP Level 3; Trusted Types). A form whose
// answer may lead out of it is answered by Onward.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; form-action 'self'"
