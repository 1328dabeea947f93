package password

import "sallyport.dev/internal/obs"

// Presentable refuses what cannot be a password at all, as Check and Hash do, for
// who wants to know before anything is counted or looked up.
// Refusal: account.invalid.
func Presentable(p obs.Secret) error {
	_, err := present(p)
	return err
}
