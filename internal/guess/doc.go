// Package guess bounds how often a secret of an account is tried, before the
// price of looking is paid (control ID-05).
//
// It promises that strangers all together reach at most 45 looks at one account
// in an hour, whatever addresses they come from, and that this does not keep the
// owner out: a device or network from which the owner has logged in is counted
// apart. Waits grow with the guesses and end by themselves; nothing here locks an
// account. Accounts are counted by what was typed, known or not, so that a refusal
// tells nothing.
//
// Counts live in kv: with Valkey all processes share them. What cannot be counted
// is refused (limit.unavailable).
package guess
