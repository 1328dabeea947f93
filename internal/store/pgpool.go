package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgConnLife is how long a connection is used: a new one follows a name that
// has moved. Password and certificates are those of the start.
const pgConnLife = 30 * time.Minute

// pgPool keeps up to a number of connections to PostgreSQL. It is as small as
// it is because the store knows what it needs: whoever gets a connection begins
// a transaction on it, which is also how a dead one is noticed.
type pgPool struct {
	config *pgx.ConnConfig
	limit  time.Duration // to connect
	slots  chan struct{} // a place for each connection in use

	mu     sync.Mutex
	idle   []*pgConn // guarded by mu; the last used last
	closed bool      // guarded by mu
}

// pgConn is a connection of a pool.
type pgConn struct {
	*pgx.Conn
	pool  *pgPool
	until time.Time
}

func newPGPool(config *pgx.ConnConfig, size int, o PostgresOptions) *pgPool {
	return &pgPool{config: config, limit: max(pgConnectLimit, o.Patience), slots: make(chan struct{}, size)}
}

// get waits for a place and returns a connection; kept says that it was used
// before, and so may have died since.
func (p *pgPool) get(ctx context.Context) (c *pgConn, kept bool, err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	c, err = p.take()
	if c != nil || err != nil {
		if err != nil {
			<-p.slots
		}
		return c, true, err
	}
	c, err = p.connect(ctx)
	if err != nil {
		<-p.slots
	}
	return c, false, err
}

// take returns a kept connection; nil when there is none.
func (p *pgPool) take() (*pgConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if time.Now().Before(c.until) && !c.IsClosed() {
			return c, nil
		}
		go c.end()
	}
	return nil, nil
}

// connect makes a connection for a place that is taken.
func (p *pgPool) connect(ctx context.Context) (*pgConn, error) {
	own, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	conn, err := pgx.ConnectConfig(own, p.config)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, pgLost{err.Error()} // names host, user and database, not the password
	}
	return &pgConn{conn, p, time.Now().Add(pgConnLife)}, nil
}

// renew replaces a connection that turned out to be dead, and gives up those
// that were kept beside it: they are likely as dead.
func (c *pgConn) renew(ctx context.Context) (*pgConn, error) {
	c.end()
	c.pool.drop()
	next, err := c.pool.connect(ctx)
	if err != nil {
		<-c.pool.slots
	}
	return next, err
}

// release gives a connection back, unless something is left on it.
func (c *pgConn) release() {
	const idle = 'I'
	p := c.pool
	p.mu.Lock()
	keep := !p.closed && !c.IsClosed() && c.PgConn().TxStatus() == idle && !c.PgConn().IsBusy()
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.end()
	}
	<-p.slots
}

// end closes a connection for good, politely where that is quick.
func (c *pgConn) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // it is given up either way
}

// drop gives up the connections that nobody uses.
func (p *pgPool) drop() {
	p.mu.Lock()
	list := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range list {
		c.end()
	}
}

// close lets no new transaction begin; a connection in use ends with its own.
func (p *pgPool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}
