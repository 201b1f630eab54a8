// Chromium started with LANG=C, as on a wall screen, says "en-US@posix", which no constructor of Intl takes. uPlot
// asks one for that language while it loads, and no chart could be shown. So this is imported before uPlot.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, 'language', { value: 'en' });
}
