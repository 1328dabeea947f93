package zone

import "testing"

// TestPublicURL: the origin of the account service is written as browsers write it.
func TestPublicURL(t *testing.T) {
	for url, want := range map[string]bool{
		"https://shop.example": true, "https://shop.example:8443": true, "http://localhost:9": true, "https://[::1]:8443": true, "https://[::1]": true,
		"https://shop.example:": false, "https://shop.example:443": false, "https://shop.example:0": false, "https://shop.example:65536": false,
		"https://shop.example:08443": false, "http://localhost:80": false, "https://[::1]:": false, "https://shop.example:443/": false, "https://shop.example/auth": false,
	} {
		_, err := Parse("map.yaml", []byte("zone: shop.example\nidentity: {url: \""+url+"\"}\nservices:\n  a:\n    upstream: http://127.0.0.1:9001\n    routes:\n      GET /x: anonymous\n"))
		if (err == nil) != want {
			t.Errorf("%s: %v, want it taken: %v", url, err, want)
		}
	}
}
