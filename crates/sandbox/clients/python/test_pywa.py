"""pywa, unchanged, on the sandbox: only the address that its HTTP client goes to is another one."""

import base64
import hashlib
import json
import logging
import pathlib
import tempfile
import unittest

import httpx
from pywa import WhatsApp, errors, handlers, types
from pywa.types.templates import (
    AuthenticationBody,
    AuthenticationFooter,
    BodyText,
    Buttons,
    Carousel,
    CarouselCard,
    CopyCodeButton,
    CopyCodeOTPButton,
    FooterText,
    HeaderImage,
    HeaderText,
    ParamFormat,
    PhoneNumberButton,
    QualityScoreType,
    QuickReplyButton,
    Template,
    TemplateCategory,
    TemplateLanguage,
    TemplateStatus,
    URLButton,
)

from sandbox import AMARA, APP, APP_SECRET, BUSINESS, NUMBER, PICTURE, TOKEN, Hook, Sandbox

# What it logs of refusals that a test is about would stand between the results.
logging.getLogger("pywa").addHandler(logging.NullHandler())

VERIFY_TOKEN = "pywa-verify"
LINK = "https://cdn.example.org/lamp"


class ToSandbox(httpx.HTTPTransport):
    """Carries what is meant for Meta's host to the sandbox. pywa writes the host itself."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx.URL(url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "graph.facebook.com":
            request.url = request.url.copy_with(scheme=self._url.scheme, host=self._url.host, port=self._url.port)
            request.headers["host"] = request.url.netloc.decode()
        return super().handle_request(request)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.sandbox = Sandbox()
        self.addCleanup(self.sandbox.stop)
        session = httpx.Client(transport=ToSandbox(self.sandbox.url), timeout=20)
        self.addCleanup(session.close)
        self.whatsapp = WhatsApp(
            phone_id=NUMBER, token=TOKEN, session=session, waba_id=BUSINESS, app_id=APP, app_secret=APP_SECRET,
            verify_token=VERIFY_TOKEN, validate_updates=True,
        )

    def shown(self, message_id: str) -> dict:
        return next(one for one in self.sandbox.thread("amara", NUMBER) if one["id"] == message_id)


class Sending(Case):
    def test_every_kind_reaches_the_phone(self) -> None:
        wa = self.whatsapp
        hello = self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        contact = types.Contact(
            name=types.Contact.Name(formatted_name="Service Desk", first_name="Service"),
            phones=[types.Contact.Phone(phone="+442079460111", type="WORK", wa_id="442079460111")],
        )
        rows = [types.SectionRow(title="Arc", callback_data="arc", description="Brass")]
        cards = [
            types.ImageCarouselCard(body=name, image=f"{LINK}-{name}.jpg", buttons=types.URLButton(title="View", url=f"{LINK}/{name}"))
            for name in ("Arc", "Globe")
        ]
        flow = types.FlowButton(
            title="Rate", flow_id="881204739915502", flow_token="token", flow_action_type=types.FlowActionType.NAVIGATE, flow_action_screen="RATE",
        )
        image = wa.upload_media(PICTURE, mime_type="image/jpeg", filename="lamp.jpg")
        sends = {
            "text": lambda: wa.send_message(AMARA, "It *shines*", preview_url=True),
            "reply": lambda: wa.send_message(AMARA, "Hello to you", reply_to_message_id=hello),
            "buttons": lambda: wa.send_message(AMARA, "Keep it?", header="Order", footer="Sandbox", buttons=[types.Button("Keep", "keep")]),
            "list": lambda: wa.send_message(AMARA, "Pick one", buttons=types.SectionList("See", [types.Section("Lamps", rows)])),
            "link button": lambda: wa.send_message(AMARA, "Track it", buttons=types.URLButton("Track", f"{LINK}/t")),
            "voice call": lambda: wa.send_message(AMARA, "Call us", buttons=types.VoiceCallButton("Call")),
            "call permission": lambda: wa.send_message(AMARA, "May we call?", buttons=types.CallPermissionRequestButton()),
            "flow": lambda: wa.send_message(AMARA, "How was it?", buttons=flow),
            "image by link": lambda: wa.send_image(AMARA, f"{LINK}.jpg", caption="A lamp"),
            "image by id": lambda: wa.send_image(AMARA, image, caption="A lamp"),
            "image with buttons": lambda: wa.send_image(AMARA, image, caption="This one?", buttons=[types.Button("Yes", "yes")]),
            "image by bytes": lambda: wa.send_image(AMARA, PICTURE, mime_type="image/jpeg"),
            "video": lambda: wa.send_video(AMARA, f"{LINK}.mp4", caption="Tour"),
            "document": lambda: wa.send_document(AMARA, f"{LINK}.pdf", filename="lamp.pdf", caption="Manual"),
            "audio": lambda: wa.send_audio(AMARA, f"{LINK}.mp3"),
            "voice": lambda: wa.send_voice(AMARA, f"{LINK}.ogg"),
            "sticker": lambda: wa.send_sticker(AMARA, f"{LINK}.webp"),
            "location": lambda: wa.send_location(AMARA, 51.5033, -0.1196, name="River Gate", address="London"),
            "location request": lambda: wa.request_location(AMARA, "Where are you?"),
            "number request": lambda: wa.request_contact_info(AMARA, "Share your number"),
            "contact": lambda: wa.send_contact(AMARA, contact),
            "catalogue": lambda: wa.send_catalog(AMARA, "All our lamps", thumbnail_product_sku="SKU-77"),
            "product": lambda: wa.send_product(AMARA, "190884417223306", "SKU-77", body="This lamp?"),
            "products": lambda: wa.send_products(
                AMARA, "190884417223306", [types.ProductsSection("Lamps", ["SKU-77", "SKU-78"])], title="For you", body="In stock"
            ),
            "carousel": lambda: wa.send_carousel(AMARA, body="New lamps", cards=cards),
            "template": lambda: wa.send_template(AMARA, "hello_world", TemplateLanguage.ENGLISH_US),
        }
        for name, send in sends.items():
            with self.subTest(name):
                sent = send()
                self.assertTrue(sent.id.startswith("wamid."), sent)
                self.assertEqual(self.shown(sent.id)["direction"], "theirs")
        reaction = wa.send_reaction(AMARA, "👍", hello)
        self.assertTrue(reaction.id.startswith("wamid."))
        self.assertEqual(self.shown(hello)["reactions"], [{"by": "theirs", "emoji": "👍"}])
        wa.remove_reaction(AMARA, hello)
        self.assertEqual(self.shown(hello)["reactions"], [])

    def test_a_message_is_read_and_answered_by_typing(self) -> None:
        hello = self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        self.assertTrue(self.whatsapp.mark_message_as_read(hello).success)
        self.assertEqual(self.shown(hello)["status"], "read")
        self.assertTrue(self.whatsapp.indicate_typing(hello).success)

    def test_an_error_is_its_own_type(self) -> None:
        with self.assertRaises(errors.TemplateNotExists) as caught:
            self.whatsapp.send_template(AMARA, "no_such_template", TemplateLanguage.ENGLISH_US)
        self.assertEqual(caught.exception.code, 132001)
        self.assertTrue(caught.exception.fbtrace_id)


class Media(Case):
    def test_a_file_goes_up_and_comes_back_down(self) -> None:
        media = self.whatsapp.upload_media(PICTURE, mime_type="image/jpeg", filename="lamp.jpg")
        found = self.whatsapp.get_media_url(media.id)
        self.assertEqual((found.mime_type, found.file_size), ("image/jpeg", len(PICTURE)))
        self.assertEqual(found.sha256, hashlib.sha256(PICTURE).hexdigest())
        self.assertEqual(self.whatsapp.get_media_bytes(found.url), PICTURE)
        with tempfile.TemporaryDirectory() as folder:
            path = self.whatsapp.download_media(url=found.url, path=folder, filename="lamp.jpg")
            self.assertEqual(pathlib.Path(path).read_bytes(), PICTURE)
        self.assertTrue(self.whatsapp.delete_media(media.id).success)
        with self.assertRaises(errors.WhatsAppError):
            self.whatsapp.get_media_url(media.id)


def ready() -> Template:
    """A template with names, of every part that a text has."""
    return Template(
        name="lamp_ready", language=TemplateLanguage.ENGLISH_US, category=TemplateCategory.UTILITY, parameter_format=ParamFormat.NAMED,
        components=[
            HeaderText(text="Ready"),
            BodyText("Hi {{name}}, lamp {{number}} is ready.", name="Priya", number="8841"),
            FooterText(text="Sandbox"),
            Buttons(buttons=[
                QuickReplyButton(text="Confirm"),
                URLButton(text="Track", url="https://example.org/{{1}}", example="8841"),
                PhoneNumberButton(text="Call", phone_number="+442079460111"),
            ]),
        ],
    )


class Templates(Case):
    def approve(self, name: str) -> None:
        self.sandbox.control("PATCH", f"/sandbox/templates/{name}/en_US", {"status": "APPROVED"})

    def test_the_list_has_filters_pages_and_what_it_adds_up_to(self) -> None:
        wa = self.whatsapp
        with self.assertLogs("pywa", "ERROR") as logged:
            # A template of a script may have variables without examples, which no template at Meta can.
            found = wa.get_templates()
        self.assertIn("no examples were provided", logged.output[0])
        self.assertEqual({one.name for one in found}, {"hello_world", "mr_dj_booking_confirmation"})
        self.assertEqual((found.total_count, found.message_template_count, found.message_template_limit), (2, 2, 250))
        approved = wa.get_templates(statuses=[TemplateStatus.APPROVED, TemplateStatus.PAUSED], name="hello_world")
        self.assertEqual([one.name for one in approved], ["hello_world"])
        self.assertEqual(len(wa.get_templates(statuses=[TemplateStatus.REJECTED])), 0)
        self.assertEqual(len(wa.get_templates(categories=[TemplateCategory.MARKETING])), 0)
        self.assertEqual(len(wa.get_templates(quality_scores=[QualityScoreType.GREEN])), 0)
        page = wa.get_templates(pagination=types.Pagination(limit=1))
        self.assertTrue(page.has_next)
        # pywa's own way to the next page, `page.next()`, fails in pywa for templates.
        rest = wa.get_templates(pagination=types.Pagination(limit=1, after=page.after))
        self.assertEqual({one.name for one in (*page, *rest)}, {"hello_world", "mr_dj_booking_confirmation"})
        self.assertFalse(rest.has_next)

    def test_one_is_made_sent_edited_and_deleted(self) -> None:
        wa = self.whatsapp
        created = wa.create_template(ready())
        self.assertEqual((created.status, created.category), (TemplateStatus.PENDING, TemplateCategory.UTILITY))
        with self.assertRaises(errors.TemplateNotExists):
            wa.send_template(AMARA, "lamp_ready", TemplateLanguage.ENGLISH_US)
        self.approve("lamp_ready")
        found = wa.get_template(created.id)
        self.assertEqual((found.status, repr(found.components)), (TemplateStatus.APPROVED, repr(ready().components)))
        sent = wa.send_template(AMARA, "lamp_ready", TemplateLanguage.ENGLISH_US, params=[
            BodyText.params(name="Amara", number="12"),
            QuickReplyButton.params(callback_data="confirm:12", index=0),
            URLButton.params(url_variable="12", index=1),
        ])
        self.assertEqual(self.shown(sent.id)["text"], "Hi Amara, lamp 12 is ready.")
        edited = wa.update_template(created.id, new_components=[BodyText("Hi {{name}}, it is ready.", name="Priya")])
        self.assertTrue(edited.success)
        self.assertTrue(wa.delete_template("lamp_ready").success)
        self.assertEqual(len(wa.get_templates(name="lamp_ready")), 0)

    def test_pictures_codes_and_cards_can_be_made(self) -> None:
        picture = HeaderImage(PICTURE, mime_type="image/jpeg")
        card = CarouselCard(components=[
            picture, BodyText("Lamp {{1}} is new.", "Arc"),
            Buttons(buttons=[QuickReplyButton(text="This one"), URLButton(text="View", url="https://example.org/{{1}}", example="arc")]),
        ])
        components = {
            TemplateCategory.MARKETING: [picture, BodyText("Lamp {{1}} is here.", "Arc"), Buttons(buttons=[CopyCodeButton(example="SPRING20")])],
            TemplateCategory.AUTHENTICATION: [
                AuthenticationBody(add_security_recommendation=True), AuthenticationFooter(code_expiration_minutes=5),
                Buttons(buttons=[CopyCodeOTPButton(text="Copy")]),
            ],
        }
        for category, parts in components.items():
            with self.subTest(category):
                made = self.whatsapp.create_template(
                    Template(name=category.lower(), language=TemplateLanguage.ENGLISH_US, category=category, components=parts)
                )
                self.assertEqual(made.status, TemplateStatus.PENDING)
        made = self.whatsapp.create_template(Template(
            name="cards", language=TemplateLanguage.ENGLISH_US, category=TemplateCategory.MARKETING,
            components=[BodyText("New lamps"), Carousel(cards=[card, card])],
        ))
        self.assertEqual(made.status, TemplateStatus.PENDING)


class Account(Case):
    def test_account_numbers_and_profile_are_read_and_changed(self) -> None:
        wa = self.whatsapp
        account = wa.get_business_account()
        self.assertEqual((account.id, account.currency), (BUSINESS, "EUR"))
        self.assertEqual([number.id for number in wa.get_business_phone_numbers()], [NUMBER])
        number = wa.get_business_phone_number()
        self.assertEqual((number.verified_name, number.quality_rating), ("Sandbox Records", "GREEN"))
        self.assertTrue(wa.update_business_profile(about="Lamps", websites=["https://example.org"]).success)
        profile = wa.get_business_profile()
        self.assertEqual((profile.about, tuple(profile.websites)), ("Lamps", ("https://example.org",)))


    def test_a_number_is_verified_deregistered_and_registered(self) -> None:
        wa = self.whatsapp
        self.assertTrue(wa.request_verification_code(code_method="SMS", language_code="en_GB").success)
        code = self.sandbox.control("GET", "/sandbox/state")["numbers"][0]["verificationCode"]
        self.assertTrue(wa.verify_phone_number(code).success)
        self.assertTrue(wa.deregister_phone_number().success)
        self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        for wrong, call in ((133010, lambda: wa.send_message(AMARA, "Hi")), (133005, lambda: wa.register_phone_number("000000"))):
            with self.assertRaises(errors.WhatsAppError) as caught:
                call()
            self.assertEqual(caught.exception.code, wrong)
        self.assertTrue(wa.register_phone_number("123456").success)
        wa.send_message(AMARA, "Hi")

    def test_people_are_blocked_and_unblocked(self) -> None:
        wa = self.whatsapp
        with self.assertRaises(errors.BulkBlockingFailed):
            wa.block_users([AMARA])
        self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        self.assertEqual([user.wa_id for user in wa.block_users([AMARA]).added_users], [AMARA])
        listed = wa.api.get_blocked_users(NUMBER)["data"]
        self.assertEqual([user["wa_id"] for user in listed], [AMARA])
        # Its own type for the list wants what was put in when they were blocked.
        with self.assertRaises(KeyError):
            next(iter(wa.get_blocked_users()))
        self.assertEqual([user.wa_id for user in wa.unblock_users([AMARA]).removed_users], [AMARA])
        self.assertEqual(list(wa.get_blocked_users()), [])

    def test_the_code_of_a_signup_becomes_a_token(self) -> None:
        code = self.sandbox.control("POST", "/sandbox/logins", {"account": NUMBER, "forBusiness": True})["code"]
        token = self.whatsapp.api.get_business_access_token(client_id=APP, client_secret=APP_SECRET, code=code)["access_token"]
        session = httpx.Client(transport=ToSandbox(self.sandbox.url), timeout=20)
        self.addCleanup(session.close)
        signed_up = WhatsApp(phone_id=NUMBER, token=token, session=session)
        self.assertEqual(signed_up.get_business_phone_number().verified_name, "Sandbox Records")


class Receiving(Case):
    """Registers the callback as pywa does, and lets it check and parse what comes."""

    def setUp(self) -> None:
        super().setUp()
        self.hook = Hook(self.whatsapp.webhook_challenge_handler)
        self.addCleanup(self.hook.stop)
        self.parsed = []
        kinds = [one for one in vars(handlers).values() if isinstance(one, type) and issubclass(one, handlers.Handler)]
        # The classes that other handlers are made of handle nothing by themselves.
        kinds = [one for one in kinds if not one.__subclasses__() and one is not handlers.RawUpdateHandler]
        self.whatsapp.add_handlers(*(kind(lambda _, update: self.parsed.append(update)) for kind in kinds))
        self.subscribe()

    def subscribe(self, verify_token: str = VERIFY_TOKEN) -> None:
        wa = self.whatsapp
        token = wa.get_app_access_token(int(APP), APP_SECRET)
        # What pywa subscribes by itself.
        fields = ["messages", "message_template_status_update", "message_template_quality_update", "template_category_update",
                  "message_template_components_update", "user_preferences", "account_update", "calls", "smb_message_echoes"]
        self.assertTrue(wa.set_app_callback_url(int(APP), token, self.hook.url, verify_token, fields).success)

    def next(self, kind: type) -> object:
        """The next update, as pywa reads it; it has to be of this type."""
        update = self.hook.next()
        self.assertIsNone(self.whatsapp.webhook_update_validator(update.body, update.signature))
        self.assertEqual(self.whatsapp.webhook_update_handler(update.body), ("ok", 200))
        self.assertEqual(len(self.parsed), 1, update.body)
        parsed = self.parsed.pop()
        self.assertIsInstance(parsed, kind)
        return parsed

    def test_a_wrong_token_is_not_subscribed_and_a_wrong_signature_not_taken(self) -> None:
        with self.assertRaises(errors.WhatsAppError):
            self.subscribe("another token")
        self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        update = self.hook.next()
        self.assertIsNone(self.whatsapp.webhook_update_validator(update.body, update.signature))
        self.assertEqual(self.whatsapp.webhook_update_validator(update.body + b" ", update.signature)[1], 403)

    def test_what_customers_write_has_its_types(self) -> None:
        kinds = {
            "text": {"text": "Hello"},
            "image": {"caption": "A lamp"},
            "video": {}, "audio": {}, "voice": {}, "sticker": {},
            "document": {"filename": "plan.pdf"},
            "location": {"latitude": 51.5, "longitude": -0.1, "name": "River Gate"},
            "contacts": {},
            "order": {"items": [{"product": "SKU-77", "quantity": 2, "price": 29.5, "currency": "EUR"}]},
            "forward": {"text": "Look"},
            "from_ad": {"text": "I saw this"},
            "unsupported": {},
        }
        for kind, content in kinds.items():
            with self.subTest(kind):
                message_id = self.sandbox.write("amara", NUMBER, type=kind, **content)
                message = self.next(types.Message)
                self.assertEqual((message.id, message.from_user.wa_id, message.from_user.name), (message_id, AMARA, "Amara Okafor"))
                match kind:
                    case "text":
                        self.assertEqual(message.text, "Hello")
                    case "image" | "video" | "audio" | "voice" | "sticker" | "document":
                        self.assertTrue(message.has_media)
                        self.assertEqual(hashlib.sha256(message.media.get_bytes()).digest(), base64.b64decode(message.media.sha256))
                    case "location":
                        self.assertEqual((message.location.latitude, message.location.name), (51.5, "River Gate"))
                    case "contacts":
                        self.assertTrue(message.contacts[0].name.formatted_name)
                    case "order":
                        self.assertEqual([product.sku for product in message.order.products], ["SKU-77"])
                    case "forward":
                        self.assertTrue(message.forwarded)
                    case "from_ad":
                        self.assertTrue(message.referral.source_id)
        hello = self.sandbox.write("amara", NUMBER, type="text", text="One more")
        self.next(types.Message)
        self.sandbox.write("amara", NUMBER, type="reaction", messageId=hello, emoji="❤️")
        self.assertEqual(self.next(types.Message).reaction.emoji, "❤️")
        self.sandbox.write("amara", NUMBER, type="edit", messageId=hello, text="Another")
        self.assertEqual(self.next(types.EditedMessage).message.text, "Another")
        self.sandbox.write("amara", NUMBER, type="unsend", messageId=hello)
        self.assertEqual(self.next(types.DeletedMessage).original_message_id, hello)

    def test_what_customers_press_has_its_types(self) -> None:
        wa = self.whatsapp
        self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        self.next(types.Message)

        def sent(message: types.SentMessage) -> str:
            """Its statuses, up to the one after which it can be pressed."""
            for expected in (types.MessageStatusType.SENT, types.MessageStatusType.DELIVERED):
                status = self.next(types.MessageStatus)
                self.assertEqual((status.id, status.status, status.from_user.wa_id), (message.id, expected, AMARA))
            return message.id

        buttons = sent(wa.send_message(AMARA, "Keep it?", buttons=[types.Button("Keep", "keep")], tracker="order 8841"))
        self.sandbox.write("amara", NUMBER, type="button", messageId=buttons, payload="keep")
        pressed = self.next(types.CallbackButton)
        self.assertEqual((pressed.data, pressed.title, pressed.reply_to_message.id), ("keep", "Keep", buttons))
        rows = [types.SectionRow(title="Arc", callback_data="arc", description="Brass")]
        chosen_of = sent(wa.send_message(AMARA, "Pick one", buttons=types.SectionList("See", [types.Section("Lamps", rows)])))
        self.sandbox.write("amara", NUMBER, type="button", messageId=chosen_of, payload="arc")
        chosen = self.next(types.CallbackSelection)
        self.assertEqual((chosen.data, chosen.title, chosen.description), ("arc", "Arc", "Brass"))
        flow = types.FlowButton(
            title="Rate", flow_id="881204739915502", flow_token="token", flow_action_type=types.FlowActionType.NAVIGATE, flow_action_screen="RATE",
        )
        asked = sent(wa.send_message(AMARA, "How was it?", buttons=flow))
        self.sandbox.write("amara", NUMBER, type="flow", messageId=asked, answers={"stars": "5"})
        done = self.next(types.FlowCompletion)
        self.assertEqual((done.token, done.response), ("token", {"stars": "5"}))
        asked = sent(wa.send_message(AMARA, "May we call?", buttons=types.CallPermissionRequestButton()))
        self.sandbox.write("amara", NUMBER, type="call_permission", messageId=asked, accept=True)
        self.assertTrue(self.next(types.CallPermissionUpdate))

    def test_a_failed_status_is_read_by_its_raw_handler_alone(self) -> None:
        raw = []
        self.whatsapp.add_handlers(handlers.RawUpdateHandler(lambda _, update: raw.append(update.value["statuses"][0])))
        sent = self.whatsapp.send_message(AMARA, "Outside the window")
        update = self.hook.next()
        # Its type of a status wants contacts, which never come with failed (whatsapp.md 5).
        with self.assertLogs("pywa", "ERROR") as logged:
            self.assertEqual(self.whatsapp.webhook_update_handler(update.body), ("ok", 200))
        self.assertIn("KeyError: 'contacts'", logged.output[0])
        self.assertEqual(self.parsed, [])
        self.assertEqual((raw[0]["id"], raw[0]["status"], raw[0]["errors"][0]["code"]), (sent.id, "failed", 131047))

    def test_of_several_changes_in_one_notification_it_reads_the_first(self) -> None:
        bodies = []
        for text in ("Hello", "Hello again"):
            self.sandbox.write("amara", NUMBER, type="text", text=text)
            bodies.append(json.loads(self.hook.next().body))
        # Meta may send up to 1000 (whatsapp.md 2.2).
        bodies[0]["entry"] += bodies[1]["entry"]
        self.whatsapp.webhook_update_handler(json.dumps(bodies[0]).encode())
        self.assertEqual([message.text for message in self.parsed], ["Hello"])

    def test_changes_of_templates_and_people_have_their_types(self) -> None:
        for change, kind in (
            ({"status": "PAUSED"}, types.TemplateStatusUpdate),
            ({"quality": "YELLOW"}, types.TemplateQualityUpdate),
            ({"category": "MARKETING"}, types.TemplateCategoryUpdate),
            ({"components": [{"type": "BODY", "text": "Hello again"}]}, types.TemplateComponentsUpdate),
        ):
            with self.subTest(kind):
                self.sandbox.control("PATCH", "/sandbox/templates/hello_world/en_US", change)
                self.assertEqual(self.next(kind).template_name, "hello_world")
        self.sandbox.write("amara", NUMBER, type="stop_marketing")
        self.next(types.UserMarketingPreferences)
        self.sandbox.write("amara", NUMBER, type="change_number", phone="447700900199")
        changed = self.next(types.PhoneNumberChange)
        self.assertEqual((changed.old_wa_id, changed.new_wa_id), (AMARA, "447700900199"))
