import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, Visitor } from 'oxc-parser';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A TypeScript file of the repository, parsed as far as the architecture's rules look at it. */
export type Source = {
  /** From the root of the repository, with forward slashes. */
  path: string;
  text: string;
  lines: number;
  imports: readonly Import[];
  functions: readonly Measured[];
  /** Forms that no file may contain: `enum`, a default export and the like. */
  forms: readonly string[];
  /** `process.env`, `Date.now`, `new Date()` and every name that is called, as `console.log`. */
  uses: ReadonlySet<string>;
  comments: readonly string[];
};

/**
 * `lines`: those of the function itself. Functions inside it are measured on their own, so a factory is as long as
 * what it does, not as the object it makes.
 */
export type Measured = { name: string; lines: number; parameters: number };

/** `to`: the path of a file of ours, or the name of a package. `isType`: it vanishes when the program runs. */
export type Import = { to: string; isType: boolean };

/** Every hand-written TypeScript file under these folders. Dashboards count, generated files do not. */
export function readSources(folders: readonly string[]): Source[] {
  return folders
    .flatMap(folder => globSync(`${folder}/**/*.{ts,tsx}`, { cwd: root }))
    .filter(path => !/node_modules|\.generated\.ts$|\.d\.ts$|\/dist\//.test(path))
    .toSorted()
    .map(readSource);
}

export const isTest = (path: string): boolean => /\.test\.tsx?$|\/(test|e2e)\//.test(path);

function readSource(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8');
  const parsed = parseSync(path, text);
  if (parsed.errors.length > 0) throw new Error(`${path} cannot be parsed: ${parsed.errors[0]!.message}`);
  const { staticImports, staticExports, dynamicImports } = parsed.module;
  const resolve = (name: string): string =>
    name.startsWith('.') ? relative(root, join(root, dirname(path), name)).replaceAll('\\', '/') : name;
  const imports = [
    ...staticImports.map(each => ({
      to: resolve(each.moduleRequest.value),
      isType: each.entries.length > 0 && each.entries.every(entry => entry.isType),
    })),
    ...staticExports.flatMap(({ entries }) =>
      entries.flatMap(entry =>
        entry.moduleRequest === null
          ? []
          : [{ to: resolve(entry.moduleRequest.value), isType: entry.isType }],
      ),
    ),
    ...dynamicImports.flatMap(each => {
      const quoted = /^['"](.*)['"]$/.exec(text.slice(each.moduleRequest.start, each.moduleRequest.end));
      return quoted === null ? [] : [{ to: resolve(quoted[1]!), isType: false }];
    }),
  ];
  const lines = text.split('\n').length - 1;
  return {
    path,
    text,
    lines,
    imports,
    comments: parsed.comments.map(each => each.value),
    ...walk(parsed.program, text),
  };
}

type FunctionNode = { start: number; end: number; params: unknown[]; id?: { name: string } | null };
type Walked = Pick<Source, 'functions' | 'forms' | 'uses'>;

function walk(program: ReturnType<typeof parseSync>['program'], text: string): Walked {
  const functions: Measured[] = [];
  const open: { inner: number }[] = [];
  const forms: string[] = [];
  const uses = new Set<string>();
  const enter = (): void => void open.push({ inner: 0 });
  const leave = (node: FunctionNode): void => {
    const { inner } = open.pop()!;
    const lines = text.slice(node.start, node.end).split('\n').length;
    // A function of one line inside another is a part of that line.
    if (lines > 1) for (const outer of open.slice(-1)) outer.inner += lines;
    const name = node.id?.name ?? text.slice(text.lastIndexOf('\n', node.start) + 1, node.start).trim();
    functions.push({ name, lines: lines - inner, parameters: node.params.length });
  };
  new Visitor({
    FunctionDeclaration: enter,
    FunctionExpression: enter,
    ArrowFunctionExpression: enter,
    'FunctionDeclaration:exit': leave,
    'FunctionExpression:exit': leave,
    'ArrowFunctionExpression:exit': leave,
    ExportDefaultDeclaration: () => void forms.push('default export'),
    TSEnumDeclaration: () => void forms.push('enum'),
    TSModuleDeclaration: node => {
      // `declare module 'x'` adds types to a package, and leaves no trace at run time.
      if (!node.declare) forms.push('namespace');
    },
    TSAnyKeyword: () => void forms.push('any'),
    TSParameterProperty: () => void forms.push('parameter property'),
    MemberExpression: node => {
      if (node.object.type === 'Identifier' && node.property.type === 'Identifier' && !node.computed) {
        uses.add(`${node.object.name}.${node.property.name}`);
      }
    },
    CallExpression: node => {
      if (node.callee.type === 'Identifier') uses.add(`${node.callee.name}()`);
    },
    NewExpression: node => {
      if (node.callee.type === 'Identifier' && node.arguments.length === 0)
        uses.add(`new ${node.callee.name}()`);
    },
  }).visit(program);
  return { functions, forms, uses };
}
