package oauth_test

import "testing"

func BenchmarkResolve(b *testing.B) {
	w := newWorld(b)
	token := w.tokens("openid").text("access_token")
	for b.Loop() {
		if _, err := w.Resolve(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
