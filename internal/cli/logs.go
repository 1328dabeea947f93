package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/internal/problem"
)

type logsCmd struct {
	output
	dataFlag
	Correlation string `help:"Records of this correlation id." placeholder:"ID"`
	Service     string `help:"Records of this service; the account service is identity, the admin socket admin." placeholder:"NAME"`
	Status      string `help:"A status or a range: 404, 5xx, 400-499, >=500." placeholder:"STATUS"`
	User        string `help:"Records of this principal: a user's id, key_ID." placeholder:"SUB"`
	Reason      string `help:"Records with this reason." placeholder:"REASON"`
	Since       string `help:"Not before: RFC 3339, or how long ago, such as 10m or 3d." placeholder:"TIME"`
	Until       string `help:"Before: likewise." placeholder:"TIME"`
	Limit       int    `help:"At most so many, the newest ones; 0 is all." default:"1000"`
	Follow      bool   `help:"Go on with each new record." short:"f"`
}

// params are the query as the admin socket takes it.
func (c *logsCmd) params() url.Values {
	v := url.Values{"limit": {strconv.Itoa(c.Limit)}, "form": {c.Format}}
	for name, value := range map[string]string{
		"correlation": c.Correlation, "service": c.Service, "status": c.Status, "user": c.User,
		"reason": c.Reason, "since": c.Since, "until": c.Until,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if c.Follow {
		v.Set("follow", "1")
	}
	return v
}

// Run asks the running zone, which records who reads. Where none runs it reads
// the folder itself.
func (c *logsCmd) Run(e *env) error {
	query, err := app.RecordQuery(c.params(), time.Now())
	var wrong *problem.Error
	if errors.As(err, &wrong) {
		return usage(errors.New(wrong.Detail))
	}
	if err != nil {
		return err
	}
	res, err := c.client().open(e.ctx, "GET", "/v1/logs", c.params(), nil)
	if errors.Is(err, errNotRunning) {
		return c.offline(e, query)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(e.stdout, res.Body)
	if e.ctx.Err() != nil {
		return nil
	}
	if err == nil && c.Follow {
		err = errors.New("the zone has ended")
	}
	if err != nil {
		return fmt.Errorf("the records broke off: %w", err)
	}
	return nil
}

// offline searches the journal of a zone that does not run.
func (c *logsCmd) offline(e *env, q logs.Query) error {
	dir := filepath.Join(c.Data, "journal")
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%w, and there is no journal: %w", errNotRunning, err)
	}
	if c.Follow {
		return fmt.Errorf("%w: there is nothing to follow", errNotRunning)
	}
	form := logs.AppendText
	if c.Format == "json" {
		form = logs.AppendJSON
	}
	out := bufio.NewWriter(e.stdout)
	var line []byte
	err := app.Records(e.ctx, logs.New(dir), q, func(r *journal.Entry) error {
		line = append(form(line[:0], r), '\n')
		_, err := out.Write(line)
		return err
	})
	return errors.Join(ignoreCancel(err), out.Flush())
}
