// Package pagetest tests the status page of a running linesplit in a real browser, headless
// Chromium. It is in this module and not beside the page, so that linesplit does not depend on the
// libraries that drive a browser.
//
// This makes the picture in the README, and -pictures DIR makes pictures of all sizes and states:
//
//	go test ./pagetest -run Readme -readme ../../docs/status-page.png
package pagetest
