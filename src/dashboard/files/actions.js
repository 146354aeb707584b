// What can be done to a client from wherever it is seen.

import { ApiError, call, session } from "./api.js";
import { toast } from "./dom.js";
import { confirm } from "./dialog.js";
import { editBan } from "./banform.js";
import { shown } from "./text.js";
import { h } from "./dom.js";

// The network that an address is in: /24 of IPv4, /64 of IPv6.
export function networkOf(address) {
  if (address.includes("/")) return address;
  if (!address.includes(":")) return `${address.split(".").slice(0, 3).join(".")}.0/24`;
  const [head, tail] = address.split("::");
  const left = head ? head.split(":") : [], right = tail ? tail.split(":") : [];
  const groups = address.includes("::") ? [...left, ...Array(8 - left.length - right.length).fill("0"), ...right] : left;
  return `${groups.slice(0, 4).join(":")}::/64`;
}

export const ban = (kind, who, reason = "") => editBan({ list: "banned", draft: { as: kind, who, reason } });
export const exempt = (kind, who, reason = "") => editBan({ list: "exemptions", draft: { as: kind, who, reason } });

// Takes a ban or an exemption off its list. True when it is off.
export async function lift(list, kind, who) {
  const what = list === "banned" ? "ban" : "exemption";
  const sure = await confirm(list === "banned" ? "Lift this ban?" : "Remove this exemption?", h("p", {}, `${kind} `, shown(who)), list === "banned" ? "Lift" : "Remove");
  if (!sure) return false;
  try {
    await call("POST", `/api/v5/${list}/remove`, { body: { as: kind, who } });
    toast(list === "banned" ? "The ban is lifted." : "The exemption is removed.");
    return true;
  } catch (error) {
    toast(error instanceof ApiError && error.status === 404 ? `Somebody else has removed this ${what} already.` : `The ${what} is still there: ${error.message}`);
    return error.status === 404;
  }
}

// Ends the sessions of a client.
export async function kick(clientid) {
  const sure = await confirm("End this client's session?", [h("p", {}, shown(clientid)), h("p", { class: "hint" }, "It may come back at once. Ban it to keep it out.")], "Kick");
  if (!sure) return false;
  try {
    await call("POST", "/api/v5/clients/kickout/bulk", { body: [clientid] });
    toast("The session has ended.");
    return true;
  } catch (error) {
    toast(`The session goes on: ${error.message}`);
    return false;
  }
}

export const author = () => session.name || "dashboard";
