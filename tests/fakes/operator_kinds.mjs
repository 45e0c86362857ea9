// Judges objects of the Prometheus operator: node operator_kinds.mjs FOLDER < objects.json
//
// The validators come from the operator's own definitions, but let fields pass that it does not
// know. So they are watched while they read: a field that no validator ever looked at is unknown.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = join(
  resolve(process.argv[2]), "node_modules/@kubernetes-models/prometheus-operator/_schemas",
);
const KINDS = { "monitoring.coreos.com/v1": "V1", "monitoring.coreos.com/v1alpha1": "V1alpha1" };

function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "symbol") return Reflect.get(target, key);
      seen.add(`${path}/${key}`);
      return watched(Reflect.get(target, key), `${path}/${key}`, seen);
    },
  });
}

function* unread(value, path, seen) {
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) {
    const here = `${path}/${key}`;
    if (seen.has(here)) yield* unread(inner, here, seen);
    else yield here;
  }
}

const problems = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind} ${object.metadata.name}`;
  const file = readdirSync(folder).find((found) =>
    found.endsWith(`ApisMonitoring${KINDS[object.apiVersion]}${object.kind}.js`));
  if (!file) {
    problems.push(`${name}: no such kind`);
    continue;
  }
  const { validate } = await import(pathToFileURL(join(folder, file)).href);
  const seen = new Set(["/apiVersion", "/kind", "/metadata"]);
  if (!validate(watched(object, "", seen))) {
    for (const error of validate.errors ?? []) {
      problems.push(`${name}${error.instancePath}: ${error.keyword} ${JSON.stringify(error.params)}`);
    }
  }
  for (const path of unread({ ...object, metadata: {} }, "", seen)) {
    problems.push(`${name}${path}: is not known`);
  }
}
console.log(JSON.stringify(problems));
