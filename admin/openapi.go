package admin

import (
	_ "embed"
	"net/http"
)

// description is the OpenAPI description of the API, written by hand. A test compares it with the
// routes and types.
//
//go:embed openapi.json
var description []byte

func getDescription(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(description)
	return nil
}
