// Package pagetest looks at the status page with a real browser, headless Chromium, while a real linesplit works. It is
// here and not beside the page so that linesplit does without what drives a browser.
//
// The picture in the README is made by go test ./pagetest -run Readme -readme ../../docs/status-page.png, and pictures
// of all sizes and states by -pictures DIR.
package pagetest
