"""Tests that need a browser: Debian's Chromium, driven by Playwright, with the network off."""
