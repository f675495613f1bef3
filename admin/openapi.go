package admin

import (
	_ "embed"
	"encoding/json"
	"maps"
	"net/http"
)

// written is the OpenAPI description of the API, written by hand, without the paths of services
// that have names. A test compares the description with the routes and types.
//
//go:embed openapi.json
var written []byte

// description is the whole description.
var description = describeServices(written)

// describeServices adds the path below servicePrefix of each operation of a service: it differs in
// nothing but the name of the service.
func describeServices(text []byte) []byte {
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		panic("openapi.json: " + err.Error()) // a test reads it
	}
	paths := doc["paths"].(map[string]any)
	for _, r := range serviceRoutes() {
		item, ok := paths[r.path].(map[string]any)
		if !ok {
			continue
		}
		below, _ := paths[servicePrefix+r.path].(map[string]any)
		if below == nil {
			below = map[string]any{}
			paths[servicePrefix+r.path] = below
		}
		for method, value := range item {
			operation := value.(map[string]any)
			below[method] = ofNamedService(operation)
			if r.named {
				continue
			}
			if responses := operation["responses"].(map[string]any); responses["409"] == nil {
				responses["409"] = map[string]any{"$ref": "#/components/responses/SeveralServices"}
			}
		}
	}
	all, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("openapi.json: " + err.Error())
	}
	return all
}

// ofNamedService returns the description of an operation for a service by its name.
func ofNamedService(operation map[string]any) map[string]any {
	named := maps.Clone(operation)
	named["operationId"] = operation["operationId"].(string) + "OfService"
	named["summary"] = operation["summary"].(string) + ", of one of several services"
	parameters, _ := operation["parameters"].([]any)
	named["parameters"] = append([]any{map[string]any{"$ref": "#/components/parameters/Service"}}, parameters...)
	responses := maps.Clone(operation["responses"].(map[string]any))
	if responses["404"] == nil {
		responses["404"] = map[string]any{"$ref": "#/components/responses/UnknownService"}
	}
	named["responses"] = responses
	return named
}

func (view) getDescription(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(description)
	return nil
}
