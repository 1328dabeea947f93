// Package password judges, scores, hashes and checks passwords. It knows no
// account: what is stored, and for whom, is its caller's.
//
// It promises
//   - argon2id at no less than the first choices of the OWASP password storage
//     cheat sheet, and exactly one hash at the current cost for each check that
//     fails, whatever is stored, so that an account that is unknown costs what a
//     known one does (see [Passwords.Check]);
//   - hashes at work within a budget of memory: who finds no room soon is
//     refused with limit.busy and told when to come back;
//   - that hashes of other systems are checked as those systems did, within
//     bounds, and renewed at the first right password;
//   - that no error holds a password, a hash or a part of one.
//
// It refuses passwords that are short, common, breached, nothing but repetitions of
// a short, common or breached part, or made of the account's own words (NIST SP
// 800-63B-4 section 3.1.1.2, OWASP ASVS 5.0 section 6.2). There are no rules of
// composition, and passwords do not age unless a zone says so (see [Expired]).
package password
