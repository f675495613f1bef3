package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// object is a JSON object.
type object = map[string]any

func describe(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// dig returns the object at keys below from. It follows references.
func dig(t *testing.T, doc, from object, keys ...string) object {
	t.Helper()
	at := from
	for _, key := range keys {
		next, ok := at[key].(object)
		if !ok {
			t.Fatalf("nothing at %q of %v", key, keys)
		}
		at = resolve(t, doc, next)
	}
	return at
}

func resolve(t *testing.T, doc, o object) object {
	t.Helper()
	name, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	return dig(t, doc, doc, strings.Split(strings.TrimPrefix(name, "#/"), "/")...)
}

func TestDescriptionHasAllRoutes(t *testing.T) {
	doc := describe(t)
	var described, handled []string
	for path, item := range dig(t, doc, doc, "paths") {
		for method := range item.(object) {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	tags := map[level]string{toRead: "read", toInspect: "inspect", toChange: "change"}
	for _, route := range New(Options{Control: &fake{}}).api.routes() {
		handled = append(handled, route.method+" "+route.path)
		if !slices.Contains(described, route.method+" "+route.path) {
			continue
		}
		op := dig(t, doc, doc, "paths", route.path, strings.ToLower(route.method))
		if tag := op["tags"].([]any)[0]; tag != tags[route.level] {
			t.Errorf("%s %s is tagged %s", route.method, route.path, tag)
		}
		if _, has := op["parameters"]; has != (strings.Contains(route.path, "{") || strings.HasSuffix(route.path, "/connections")) {
			t.Errorf("%s %s: parameters: %v", route.method, route.path, has)
		}
	}
	slices.Sort(described)
	slices.Sort(handled)
	if !slices.Equal(described, handled) {
		t.Errorf("described:\n%s\nhandled:\n%s", strings.Join(described, "\n"), strings.Join(handled, "\n"))
	}
}

func TestDescriptionHasAllTypes(t *testing.T) {
	types := map[string]reflect.Type{}
	for name, value := range map[string]any{
		"Status": Status{}, "Amount": Amount{}, "Ledger": Ledger{}, "DroppedBy": DroppedBy{}, "Totals": Totals{},
		"KeyStatus": KeyStatus{}, "TargetLanes": TargetLanes{},
		"Spool": SpoolStatus{}, "SpoolGroup": SpoolGroup{}, "SpoolSample": SpoolSample{},
		"RefusedBy": RefusedBy{}, "AnsweredBy": AnsweredBy{}, "Rates": Rates{}, "Limits": Limits{}, "Target": TargetStatus{}, "Source": SourceStatus{}, "Group": GroupStatus{},
		"TargetRates": TargetRates{}, "TargetLines": TargetLines{}, "TargetForward": TargetForward{},
		"ServiceList": serviceList{}, "SharedPorts": SharedPorts{}, "TargetList": targetList{}, "Connection": Connection{}, "ConnectionList": connectionList{},
		"Setting": Setting{}, "SettingList": settingList{}, "NewTarget": newTarget{}, "NewWeight": newWeight{},
		"NewBalance": newBalance{}, "Reloaded": reloaded{}, "Problem": problem{}, "History": History{}, "Sample": Sample{},
	} {
		types[name] = reflect.TypeOf(value)
	}
	doc := describe(t)
	schemas := dig(t, doc, doc, "components", "schemas")
	if got, want := slices.Sorted(maps.Keys(schemas)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Fatalf("schemas %v\n  types %v", got, want)
	}
	for name, typ := range types {
		compareType(t, doc, name, schemas[name].(object), typ)
	}
}

// compareType compares a schema's properties with a struct's fields: their names and types, and
// which of them are optional.
func compareType(t *testing.T, doc object, name string, schema object, typ reflect.Type) {
	t.Helper()
	properties := maps.Clone(schema["properties"].(object))
	required := schema["required"].([]any)
	for _, field := range reflect.VisibleFields(typ) {
		if field.Anonymous {
			continue
		}
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" { // shown by metrics only
			continue
		}
		property, ok := properties[key].(object)
		if !ok {
			t.Errorf("%s has no %q", name, key)
			continue
		}
		delete(properties, key)
		if optional := strings.HasPrefix(options, "omit"); optional == slices.Contains(required, any(key)) {
			t.Errorf("%s.%s: optional: %v", name, key, optional)
		}
		if got, want := resolve(t, doc, property)["type"], jsonType(field.Type); got != want {
			t.Errorf("%s.%s is %v, not %s", name, key, got, want)
		}
		if property["description"] == nil && property["$ref"] == nil && property["items"] == nil {
			t.Errorf("%s.%s is not described", name, key)
		}
	}
	for key := range properties {
		t.Errorf("%s: no field %q", name, key)
	}
}

func jsonType(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "string"
	case typ.Kind() == reflect.Pointer:
		return jsonType(typ.Elem())
	}
	switch typ.Kind() {
	case reflect.Struct:
		return "object"
	case reflect.Slice:
		return "array"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}

// Every operation is called in both modes, with and without success. Its response must fit the
// schema for its status and content type.
func TestResponsesFitTheDescription(t *testing.T) {
	doc := describe(t)
	bodies := map[string]string{
		"POST /targets":              `{"address":"a:1"}`,
		"PUT /targets/{name}/weight": `{"weight":2}`,
		"PUT /balance":               `{"rule":"random"}`,
	}
	for _, mode := range []string{ModeLine, ModeConnection} {
		for _, err := range []error{nil, ErrUnknown, ErrInvalid, ErrExists, errOther} {
			control := &fake{mode: mode, err: err}
			for _, o := range []Options{{Control: control}, {Process: fakeProcess{"a": control, "b": control}}} {
				s := New(o)
				for _, route := range s.api.routes() {
					if route.stream {
						continue
					}
					path := apiPrefix + strings.NewReplacer("{name}", "tcp:%2F%2F10.0.0.1:9999", "{service}", "a").Replace(route.path)
					r := ask(s, route.method, path, asJSON, bodies[route.method+" "+strings.TrimPrefix(route.path, servicePrefix)])
					checkResponse(t, doc, route, r)
				}
			}
		}
	}
}

// checkResponse reports a response that the description does not allow.
func checkResponse(t *testing.T, doc object, route route, r *http.Response) {
	t.Helper()
	where := route.method + " " + route.path + " " + strconv.Itoa(r.StatusCode)
	responses := dig(t, doc, doc, "paths", route.path, strings.ToLower(route.method), "responses")
	if responses[strconv.Itoa(r.StatusCode)] == nil {
		// The fake returns every error from every operation; a real Control does not.
		if r.StatusCode < 300 || r.StatusCode == 405 {
			t.Errorf("%s is not described", where)
		}
		return
	}
	schema := dig(t, doc, responses, strconv.Itoa(r.StatusCode), "content", r.Header.Get("Content-Type"), "schema")
	decoder := json.NewDecoder(bytes.NewReader([]byte(body(t, r))))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for _, fault := range validate(t, doc, schema, value, where) {
		t.Error(fault)
	}
}

// validate returns how value violates schema. It supports the part of JSON Schema that the
// description uses.
func validate(t *testing.T, doc, schema object, value any, where string) (faults []string) {
	t.Helper()
	schema = resolve(t, doc, schema)
	fault := func(format string, args ...any) { faults = append(faults, where+": "+fmt.Sprintf(format, args...)) }
	switch v := value.(type) {
	case object:
		if schema["type"] != "object" {
			fault("an object")
		}
		properties, _ := schema["properties"].(object)
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, has := v[key.(string)]; !has {
				fault("no %s", key)
			}
		}
		for key, inner := range v {
			property, known := properties[key].(object)
			switch {
			case known:
				faults = append(faults, validate(t, doc, property, inner, where+"."+key)...)
			case schema["additionalProperties"] == false:
				fault("%s is not described", key)
			}
		}
	case []any:
		items, ok := schema["items"].(object)
		if !ok {
			fault("a list")
		}
		for i, inner := range v {
			faults = append(faults, validate(t, doc, items, inner, where+"."+strconv.Itoa(i))...)
		}
	case string:
		choices, limited := schema["enum"].([]any)
		if schema["type"] != "string" || limited && !slices.Contains(choices, any(v)) {
			fault("%q", v)
		}
		if _, err := time.Parse(time.RFC3339Nano, v); schema["format"] == "date-time" && err != nil {
			fault("%v", err)
		}
	case json.Number:
		for _, text := range validateNumber(schema, v) {
			fault("%s", text)
		}
	case bool:
		if schema["type"] != "boolean" {
			fault("%v", v)
		}
	default:
		fault("%v", v)
	}
	return faults
}

func validateNumber(schema object, v json.Number) (faults []string) {
	_, err := v.Int64()
	if schema["type"] != "number" && (schema["type"] != "integer" || err != nil) {
		faults = append(faults, v.String())
	}
	number, _ := v.Float64()
	if minimum, has := schema["minimum"].(float64); has && number < minimum {
		faults = append(faults, v.String()+" is too small")
	}
	if maximum, has := schema["maximum"].(float64); has && number > maximum {
		faults = append(faults, v.String()+" is too large")
	}
	return faults
}

// Every operation describes the errors that it gets before its handler runs.
func TestDescriptionHasCommonErrors(t *testing.T) {
	doc := describe(t)
	for _, route := range New(Options{Control: &fake{}}).api.routes() {
		responses := dig(t, doc, doc, "paths", route.path, strings.ToLower(route.method), "responses")
		want := []string{"403", "421", "503"}
		if route.level > toRead {
			want = append(want, "401", "429")
		}
		if route.level == toChange {
			want = append(want, "400", "408", "413", "415", "500")
		}
		if strings.Contains(route.path, "{name}") {
			want = append(want, "404")
		}
		for _, code := range want {
			if responses[code] == nil {
				t.Errorf("%s %s: no %s", route.method, route.path, code)
			}
		}
	}
}
