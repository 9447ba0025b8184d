// Renders /openapi.json as a list of operations with the schemas of their bodies.
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

let description;

function resolve(schema) {
  if (!schema?.$ref) return { schema, name: "" };
  const name = schema.$ref.split("/").pop();
  return { schema: description.components.schemas[name], name };
}

function typeOf(given) {
  const { schema, name } = resolve(given);
  if (name) return name;
  if (!schema) return "any";
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(" | ");
  if (schema.anyOf || schema.oneOf) return (schema.anyOf ?? schema.oneOf).map(typeOf).join(" | ");
  const types = [].concat(schema.type ?? "any");
  return types.map(type => {
    if (type === "array") return `list of ${typeOf(schema.items)}`;
    if (type === "object" && schema.additionalProperties && schema.additionalProperties !== true) return `map to ${typeOf(schema.additionalProperties)}`;
    return schema.format ? `${type} (${schema.format})` : type;
  }).join(" | ");
}

function fields(given, seen = []) {
  const { schema, name } = resolve(given);
  if (!schema || seen.includes(name)) return [];
  if (schema.type === "array") return fields(schema.items, seen);
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) return variants.flatMap(variant => fields(variant, seen));
  if (!schema.properties) return [];
  const path = name ? [...seen, name] : seen;
  const rows = Object.entries(schema.properties).map(([key, value]) => {
    const required = schema.required?.includes(key) ? " (required)" : "";
    const inner = fields(value, path);
    const note = [value.description ?? "", value.writeOnly || resolve(value).schema?.writeOnly ? "write only" : ""].filter(Boolean).join("; ");
    const cells = [element("td", {}, element("code", {}, key), element("span", { class: "dim" }, required)), element("td", {}, typeOf(value)), element("td", {}, note, ...inner)];
    return element("tr", {}, ...cells);
  });
  return rows.length ? [element("table", {}, element("tbody", {}, ...rows))] : [];
}

function part(title, schema) {
  if (!schema) return [];
  return [element("h4", {}, `${title}: `, element("code", {}, typeOf(schema))), ...fields(schema)];
}

function parameters(list = []) {
  if (!list.length) return [];
  const rows = list.map(p => element("tr", {}, element("td", {}, element("code", {}, p.name)), element("td", {}, p.in), element("td", {}, typeOf(p.schema)), element("td", {}, p.description ?? "")));
  return [element("h4", {}, "Parameters"), element("table", {}, element("tbody", {}, ...rows))];
}

function operation(path, method, op) {
  const body = element("div");
  const made = element("details", { id: op.operationId, "data-text": `${method} ${path} ${op.summary}`.toLowerCase() },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()), element("span", { class: "path" }, path), op.summary, element("span", { class: "role" }, op["x-role"] ?? "")), body);
  made.addEventListener("toggle", () => {
    if (body.hasChildNodes()) return;
    body.append(...(op.description ?? "").split("\n\n").map(text => element("p", {}, text)), ...parameters(op.parameters),
      ...part("Body", op.requestBody?.content?.["application/json"]?.schema),
      ...Object.entries(op.responses).filter(([status]) => status < "300").flatMap(([status, response]) => {
        const [type, media] = Object.entries(response.content ?? {})[0] ?? [];
        return media ? part(`Answer ${status} ${type === "application/json" ? "" : type}`, media.schema) : [element("h4", {}, `Answer ${status}, no body`)];
      }),
      element("p", { class: "dim" }, `Errors: ${Object.keys(op.responses).filter(status => status >= "400").join(", ")}`));
  });
  return made;
}

async function render() {
  description = await (await fetch("/openapi.json")).json();
  document.getElementById("openapi").textContent = description.openapi;
  document.getElementById("about").textContent = [description.info.description, description.info.version && `Version ${description.info.version}.`].filter(Boolean).join(" ");
  const groups = new Map();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const [method, op] of Object.entries(item)) {
      const tag = op.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(path, method, op)]);
    }
  }
  const tags = [...groups.keys()].sort();
  document.getElementById("contents").replaceChildren(...tags.map(tag => element("a", { href: `#group-${tag}` }, tag)));
  document.getElementById("operations").replaceChildren(...tags.map(tag => element("section", { id: `group-${tag}` }, element("h2", {}, tag), ...groups.get(tag))));
  reveal();
}

// reveal opens the operation that the address names.
function reveal() {
  const named = document.getElementById(location.hash.slice(1));
  if (!named) return;
  if (named.localName === "details") named.open = true;
  named.scrollIntoView();
}

window.addEventListener("hashchange", reveal);

document.getElementById("search").addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  for (const each of document.querySelectorAll("details")) each.hidden = !each.dataset.text.includes(words);
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector("details:not([hidden])");
});

render().catch(error => { document.getElementById("operations").textContent = `The description could not be read: ${error.message}`; });
