package acked

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"linesplit/linebuf"
)

// maxItem limits an answer of the bulk API, in bytes for each line. An item with a long reason has
// some hundred; of a batch with longer ones, one half is sent after the other.
const maxItem = 1 << 10

// errLongAnswer is the error of an answer of the bulk API that is longer than that.
var errLongAnswer = errors.New("it is too long")

// useBulk makes s speak the bulk API of Elasticsearch and OpenSearch. Each line is a document that
// is created with an id of its own, so that it is not created twice.
func (s *httpSender) useBulk() {
	s.body = bulkBody
	s.judge = judgeBulk
}

// bulkBody appends the lines of p to b, each behind the action that creates it.
func bulkBody(b []byte, p Part) []byte {
	const begin, end = `{"create":{"_id":"`, "\"}}\n"
	p.EachLine(func(line []byte, m linebuf.Mark) bool {
		b = append(b, begin...)
		b = AppendLineID(b, m)
		b = append(b, end...)
		b = append(b, line...)
		b = append(b, '\n')
		return true
	})
	return b
}

// bulkItem is the part of an item that counts. There is one member, named like the action.
type bulkItem map[string]struct {
	Status int             `json:"status"`
	Error  json.RawMessage `json:"error"`
}

// judgeBulk reads the answer about the lines of p, which has an item for each of them, in order.
func judgeBulk(p Part, r io.Reader) (a account, err error) {
	limited := &io.LimitedReader{R: r, N: maxAnswer + int64(p.Lines)*maxItem}
	items, err := openItems(limited)
	n := 0
	p.EachLine(func(line []byte, m linebuf.Mark) bool {
		if err != nil {
			return false
		}
		var item bulkItem
		if !items.More() {
			err = fmt.Errorf("it has %d items for %d lines", n, p.Lines)
		} else if err = items.Decode(&item); err == nil {
			err = a.note(p, n, line[:len(line)+1], m, item)
		}
		n++
		return err == nil
	})
	if err == nil && items.More() {
		err = fmt.Errorf("it has more than %d items for as many lines", p.Lines)
	}
	if err != nil && limited.N == 0 {
		err = errLongAnswer
	}
	if err != nil {
		return account{}, fmt.Errorf("answer of the bulk API: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(r, maxAnswer)) // so that the connection can be used again
	return a, err
}

// openItems returns a decoder at the first of the items of an answer.
func openItems(r io.Reader) (*json.Decoder, error) {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no JSON object"), err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		if name != "items" {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return nil, err
			}
			continue
		}
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			return nil, errors.Join(errors.New("items is no array"), err)
		}
		return d, nil
	}
	return nil, errors.New("it has no items")
}

// note notes what has become of line n of p, which is given with its newline.
func (a *account) note(p Part, n int, line []byte, m linebuf.Mark, item bulkItem) error {
	if len(item) != 1 {
		return fmt.Errorf("item %d has %d actions", n, len(item))
	}
	for _, result := range item {
		switch code := result.Status; {
		case code/100 == 2, code == http.StatusConflict: // it is there already
		case code == http.StatusTooManyRequests, code/100 == 5:
			a.again.add(line, linebuf.Run{First: m, Lines: 1})
			a.reason = fmt.Sprintf("%d for %d of %d lines: %.*s", code, a.again.count, p.Lines, maxQuoted, result.Error)
		case code/100 == 4:
			a.refused = append(a.refused, Refused{Part{line, 1, p.batch, p.from + n}, fmt.Sprintf("%d: %.*s", code, maxQuoted, result.Error)})
		default:
			return fmt.Errorf("item %d has the status %d", n, code)
		}
	}
	return nil
}
