//go:build !unix

package svid

import (
	"errors"
	"os"
)

// errPrivate: a file that cannot be kept from other users is not written.
var errPrivate = errors.New("this system's file rights are not known: leave Dir empty and join anew at each start")

func openPrivate(string) (*os.File, error) { return nil, errPrivate }

func privateFolder(string) error { return errPrivate }
