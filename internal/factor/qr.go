package factor

import (
	"fmt"
	"html"
	"strings"

	"rsc.io/qr"
)

// quiet is the white border that readers need, in modules (ISO/IEC 18004).
const quiet = 4

// qrSVG draws a text as a QR code. The picture has neither style nor script and
// asks for nothing, so that the strictest policy lets it stand in a page. It is
// black on white in dark pages too: many readers know no other.
func qrSVG(text, title string) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("factor: QR code: %w", err)
	}
	size := code.Size + 2*quiet
	title = html.EscapeString(title)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" shape-rendering="crispEdges">`, size, size, title)
	fmt.Fprintf(&b, `<title>%s</title><rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, title, size, size)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			run := 0
			for code.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}
