// A customer's phone: the sandbox's page in a browser.

/** The two accounts of the sandbox. */
export const accounts = { whatsapp: "200000000000001", instagram: "17841400000000001" };

/** Opens the phone of a customer, in the thread with an account. `troubles` is what the page's policy forbade, and what its scripts threw. */
export async function openPhone(browser, hub, customer, account, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1500, height: 1000 }, reducedMotion: "reduce", locale: "en-GB", timezoneId: "Europe/London", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const phone = new Phone(page, context);
  page.on("pageerror", (error) => phone.troubles.push(String(error)));
  page.on("console", (message) => message.type() === "error" && phone.troubles.push(message.text()));
  await page.goto(`${hub.sandbox}/phone#customer=${customer}&account=${account}`);
  await page.locator("#conversation:not([hidden])").waitFor();
  return phone;
}

class Phone {
  troubles = [];

  constructor(page, context) {
    this.page = page;
    this.context = context;
  }

  close() {
    return this.context.close();
  }

  /** The row of a message, by Meta's id of it; of one that was written here, from when the sandbox has it. */
  row(id) {
    return this.page.locator(`#messages > li[data-message="${id}"]`);
  }

  /** Does it; answers with Meta's id of what the page has posted for it. */
  async posted(work) {
    const isPost = (response) => response.request().method() === "POST" && response.url().endsWith("/messages");
    const [response] = await Promise.all([this.page.waitForResponse(isPost), work()]);
    if (response.status() !== 201) throw new Error(`the sandbox refused it: ${response.status()} ${await response.text()}`);
    return (await response.json()).id;
  }

  /** Writes; answers with Meta's id of it. */
  async write(text) {
    await this.page.locator("#draft").fill(text);
    return this.posted(() => this.page.locator("#draft").press("Enter"));
  }

  /** Chooses from the menu of what can be sent; fills in nothing that is there already. */
  attach(name, asks) {
    return this.posted(async () => {
      await this.page.locator("#attach").click();
      await this.page.locator(`#sheet button.tile[value="${name}"]`).click();
      if (asks) await this.submit();
    });
  }

  submit() {
    return this.page.locator("#sheet-send").click();
  }

  /** Chooses from the menu of a message. */
  async choose(row, role, name) {
    await row.hover();
    await row.locator(".more").click();
    await this.page.locator("#message-menu").getByRole(role, { name }).click();
  }
}
