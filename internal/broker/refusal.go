package broker

import (
	"context"
	"errors"
	"fmt"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
)

// invalid is why an answer is refused.
func invalid(text string, args ...any) error {
	return problem.New(problem.ProviderInvalid, fmt.Errorf("broker: "+text, args...))
}

// denied is of a provider that says no.
func denied(text string, args ...any) error {
	return problem.New(problem.ProviderDenied, fmt.Errorf("broker: "+text, args...))
}

// unavailable is of a provider that cannot be asked, or does not answer as one. A
// caller that gave up is no fault of the provider.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if known := (*problem.Error)(nil); errors.As(err, &known) {
		return err
	}
	return problem.New(problem.ProviderUnavailable, fmt.Errorf("broker: %w", err))
}

func unavailableAnswer(code, description string) error {
	return problem.New(problem.ProviderUnavailable, fmt.Errorf("broker: the provider answers %q: %q", outward.Clip(code), outward.Clip(description)))
}
