package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPostgresKinds(t *testing.T) {
	for code, want := range map[string]error{
		"23505": ErrConflict,
		"23502": nil, "23503": nil, "23514": nil, // null, foreign key, check: defects
		"42P01": nil, "42501": nil, "22021": nil, "42601": nil, "": nil,
		"08006": ErrUnavailable, "08P01": ErrUnavailable,
		"25006": ErrUnavailable, "25P03": ErrUnavailable, "25P02": nil,
		"28P01": ErrUnavailable, "3D000": ErrUnavailable,
		"40001": ErrUnavailable, "40P01": ErrUnavailable,
		"53100": ErrUnavailable, "53200": ErrUnavailable, "53300": ErrUnavailable,
		"55P03": ErrUnavailable, "57014": ErrUnavailable, "57P01": ErrUnavailable, "57P02": ErrUnavailable, "57P03": ErrUnavailable,
		"58030": ErrUnavailable, "XX001": ErrUnavailable,
	} {
		err := fmt.Errorf("exec: %w", &pgconn.PgError{Code: code})
		if got := pgKind(err); got != want { //nolint:errorlint // the kinds themselves
			t.Errorf("code %q: %v, want %v", code, got, want)
		}
	}
	if got := pgKind(pgLost{"gone"}); got != ErrUnavailable { //nolint:errorlint // likewise
		t.Errorf("a lost connection: %v, want ErrUnavailable", got)
	}
	if got := pgKind(errors.New("other")); got != nil {
		t.Errorf("another error: %v, want none", got)
	}
}
