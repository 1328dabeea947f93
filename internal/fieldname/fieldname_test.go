package fieldname

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, c := range []struct {
		name, want string
		plain      bool
	}{
		{"", "", false},
		{"Accept", "accept", true},
		{"X-User-Id", "x-user-id", true},
		{"X_User_Id", "x-user-id", false},
		{"x.user.id", "x-user-id", false},
		{"X-User-Id ", "x-user-id-", false},
		{"X-Käse", "x-k--se", false},
		{strings.Repeat("A", Limit+9), strings.Repeat("a", Limit), true},
		{strings.Repeat("a", Limit) + "_", strings.Repeat("a", Limit), false}, // what is cut counts
	} {
		var buf [Limit]byte
		if got, plain := Fold(&buf, c.name); string(got) != c.want || plain != c.plain {
			t.Errorf("Fold(%q) = %q, %v; want %q, %v", c.name, got, plain, c.want, c.plain)
		}
	}
}

// TestMeanings: each list knows its own names, in every spelling, and no ordinary one.
func TestMeanings(t *testing.T) {
	lists := map[string]func([]byte) bool{"inside": Inside, "hop by hop": HopByHop, "unjudged": Unjudged, "none": nil}
	for name, want := range map[string]string{
		"Txn-Token": "inside", "X-User-Id": "inside", "x_user_roles": "inside", "X.Client.Id": "inside", "X-CALLER": "inside", "Sallyport-Request": "inside", "X-Correlation-Id": "inside",
		"Connection": "hop by hop", "TE": "hop by hop", "Trailer": "hop by hop", "Transfer_Encoding": "hop by hop", "Proxy-Authorization": "hop by hop", "HTTP2-Settings": "hop by hop",
		"Authorization": "unjudged", "X-Api-Key": "unjudged", "Expect": "unjudged", "Proxy": "unjudged", "X-Forwarded-For": "unjudged", "X-Original-URL": "unjudged", "Sec-WebSocket-Key": "unjudged",
		"X-HTTP-Method-Override": "unjudged", "Forwarded": "unjudged",
		"Accept": "none", "Cookie": "none", "X-Userid": "none", "X-Forward": "none", "Proxying": "none", "Txn-Tokens": "none", "Tea": "none",
	} {
		var buf [Limit]byte
		folded, _ := Fold(&buf, name)
		for list, knows := range lists {
			if knows != nil && knows(folded) != (list == want) {
				t.Errorf("%s: %s says %v, want it in %s", name, list, list != want, want)
			}
		}
	}
}
