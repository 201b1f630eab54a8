// Before the first paint: the theme that was chosen here, or the system's by leaving it to the style sheet.
try {
  const theme = localStorage.getItem('opsfleet.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's preference holds.
}
