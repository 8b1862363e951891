"""Meta's own SDK for Python, unchanged, on the sandbox: only the address of Graph is another one.

It knows accounts, templates, subscriptions, Instagram's messages, posts and insights, and calls in batches; each with the proof of the
app's secret. WhatsApp's messages and media have no class in it: they go by its general call.
"""

import hashlib
import hmac
import json
import unittest
import warnings

from facebook_business.adobjects.application import Application
from facebook_business.adobjects.igcomment import IGComment
from facebook_business.adobjects.igmedia import IGMedia
from facebook_business.adobjects.iguser import IGUser
from facebook_business.adobjects.whatsappbusinessaccount import WhatsAppBusinessAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from sandbox import (
    AMARA,
    APP,
    APP_SECRET,
    BUSINESS,
    INSTAGRAM,
    INSTAGRAM_APP,
    INSTAGRAM_SECRET,
    INSTAGRAM_TOKEN,
    NUMBER,
    PICTURE,
    TOKEN,
    Hook,
    Sandbox,
)

PHOTO = "https://cdn.example.org/lamp.jpg"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.sandbox = Sandbox()
        self.addCleanup(self.sandbox.stop)
        original = FacebookSession.GRAPH
        FacebookSession.GRAPH = self.sandbox.url
        self.addCleanup(setattr, FacebookSession, "GRAPH", original)
        # Its lists of fields leave out those of numbers and templates: it warns, and asks for them all the same.
        self.enterContext(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".* does not allow field .*")
        self.api = FacebookAdsApi(FacebookSession(APP, APP_SECRET, TOKEN))
        self.business = WhatsAppBusinessAccount(BUSINESS, api=self.api)
        self.instagram = IGUser(INSTAGRAM, api=FacebookAdsApi(FacebookSession(INSTAGRAM_APP, INSTAGRAM_SECRET, INSTAGRAM_TOKEN)))


class WhatsApp(Case):
    def test_an_account_and_its_numbers_are_read(self) -> None:
        field = WhatsAppBusinessAccount.Field
        account = self.business.api_get(fields=[field.name, field.currency, field.status, field.country])
        self.assertEqual((account["name"], account["currency"]), ("Sandbox business", "EUR"))
        numbers = self.business.get_phone_numbers(fields=["display_phone_number", "verified_name"])
        self.assertEqual([(one["id"], one["verified_name"]) for one in numbers], [(NUMBER, "Sandbox Records")])

    def test_templates_are_made_listed_over_pages_and_deleted(self) -> None:
        body = {"type": "BODY", "text": "Lamp {{1}} is ready.", "example": {"body_text": [["Arc"]]}}
        made = self.business.create_message_template(
            params={"name": "lamp_ready", "language": "en_US", "category": "UTILITY", "components": [body]}
        )
        self.assertEqual(made["status"], "PENDING")
        listed = self.business.get_message_templates(fields=["name", "status"], params={"limit": 1, "status": ["APPROVED", "PENDING"]})
        self.assertEqual({one["name"] for one in listed}, {"hello_world", "mr_dj_booking_confirmation", "lamp_ready"})
        self.assertEqual(listed.total(), 3)
        approved = self.business.get_message_templates(fields=["name"], params={"status": ["APPROVED"], "language": ["en_US"]})
        self.assertNotIn("lamp_ready", [one["name"] for one in approved])
        self.business.delete_message_templates(params={"name": "lamp_ready"})
        self.assertEqual(len(self.business.get_message_templates(params={"name": "lamp_ready"})), 0)

    def test_messages_and_media_go_by_its_general_call(self) -> None:
        self.sandbox.write("amara", NUMBER, type="text", text="Hello")
        form = {"messaging_product": "whatsapp", "type": "image/jpeg"}
        media = self.api.call("POST", (NUMBER, "media"), params=form, files={"file": ("lamp.jpg", PICTURE, "image/jpeg")}).json()
        found = self.api.call("GET", (media["id"],)).json()
        self.assertEqual(found["sha256"], hashlib.sha256(PICTURE).hexdigest())
        message = {"messaging_product": "whatsapp", "to": AMARA, "type": "image", "image": {"id": media["id"], "caption": "A lamp"}}
        sent = self.api.call("POST", (NUMBER, "messages"), params=message).json()["messages"][0]["id"]
        self.assertIn(sent, [one["id"] for one in self.sandbox.thread("amara", NUMBER)])
        self.assertTrue(self.api.call("DELETE", (media["id"],)).json()["success"])

    def test_an_error_and_a_wrong_proof_are_its_own_type(self) -> None:
        with self.assertRaises(FacebookRequestError) as caught:
            self.api.call("POST", (NUMBER, "messages"), params={"messaging_product": "whatsapp", "to": AMARA, "type": "text"})
        self.assertEqual((caught.exception.http_status(), caught.exception.api_error_code()), (400, 131008))
        stranger = FacebookAdsApi(FacebookSession(APP, "another secret", TOKEN))
        with self.assertRaises(FacebookRequestError) as caught:
            WhatsAppBusinessAccount(BUSINESS, api=stranger).api_get(fields=["name"])
        self.assertIn("appsecret_proof", caught.exception.api_error_message())

    def test_a_batch_has_an_answer_for_each_call(self) -> None:
        answers = []
        batch = self.api.new_batch()
        for account in (BUSINESS, "1"):
            WhatsAppBusinessAccount(account, api=self.api).api_get(
                fields=["name"], batch=batch,
                success=lambda answer: answers.append(answer.json()["name"]),
                failure=lambda answer: answers.append(answer.error().api_error_code()),
            )
        batch.execute()
        self.assertEqual(answers, ["Sandbox business", 100])

    def test_its_proof_is_enough_where_the_app_demands_one(self) -> None:
        self.sandbox.control("PATCH", f"/sandbox/apps/{APP}", {"requiresProof": True})
        self.assertEqual(self.business.api_get(fields=["name"])["name"], "Sandbox business")
        answers = []
        batch = self.api.new_batch()
        self.business.api_get(fields=["name"], batch=batch, success=lambda answer: answers.append(answer.json()["name"]))
        batch.execute()
        self.assertEqual(answers, ["Sandbox business"])
        # Without the app's secret it sends none.
        without = FacebookAdsApi(FacebookSession(access_token=TOKEN))
        with self.assertRaises(FacebookRequestError) as caught:
            WhatsAppBusinessAccount(BUSINESS, api=without).api_get(fields=["name"])
        self.assertIn("require an appsecret_proof", caught.exception.api_error_message())

    def test_a_callback_is_verified_and_gets_signed_updates(self) -> None:
        hook = Hook(lambda token, challenge: (challenge, 200) if token == "verify" else ("", 403))
        self.addCleanup(hook.stop)
        app = Application(APP, api=FacebookAdsApi(FacebookSession(APP, APP_SECRET, f"{APP}|{APP_SECRET}")))
        wanted = {"object": "whatsapp_business_account", "callback_url": hook.url, "fields": ["messages"], "include_values": True}
        with self.assertRaises(FacebookRequestError):
            app.create_subscription(params={**wanted, "verify_token": "wrong"})
        app.create_subscription(params={**wanted, "verify_token": "verify"})
        self.assertEqual([one["callback_url"] for one in app.get_subscriptions()], [hook.url])
        self.business.create_subscribed_app()
        self.assertEqual([one["whatsapp_business_api_data"]["id"] for one in self.business.get_subscribed_apps()], [APP])
        self.sandbox.write("amara", NUMBER, type="text", text="Olá 👋")
        update = hook.next()
        # It has no code for webhooks: this is what Meta's pages say of the signature.
        self.assertEqual(update.signature, "sha256=" + hmac.new(APP_SECRET.encode(), update.body, hashlib.sha256).hexdigest())
        self.assertEqual(json.loads(update.body)["entry"][0]["changes"][0]["value"]["messages"][0]["text"]["body"], "Olá 👋")
        app.delete_subscriptions(params={"object": "whatsapp_business_account"})
        self.assertEqual(len(app.get_subscriptions()), 0)


class Instagram(Case):
    def test_messages_of_every_kind_reach_the_phone(self) -> None:
        lucia = self.sandbox.customer("lucia")["igsid"]
        hello = self.sandbox.write("lucia", INSTAGRAM, type="text", text="Hi")
        attachment = self.instagram.create_message_attachment(
            params={"message": {"attachment": {"type": "image", "payload": {"url": PHOTO}}}}
        )["attachment_id"]
        kinds = {
            "text": {"text": "Hello"},
            "image": {"attachment": {"type": "image", "payload": {"url": PHOTO}}},
            "uploaded image": {"attachment": {"type": "image", "payload": {"attachment_id": attachment}}},
            "heart": {"attachment": {"type": "like_heart"}},
            "quick replies": {"text": "Which?", "quick_replies": [{"content_type": "text", "title": "Arc", "payload": "ARC"}]},
            "buttons": {"attachment": {"type": "template", "payload": {
                "template_type": "button", "text": "How?", "buttons": [{"type": "postback", "title": "Agent", "payload": "AGENT"}],
            }}},
            "cards": {"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": [{"title": "Arc", "image_url": PHOTO}]}}},
        }
        for kind, message in kinds.items():
            with self.subTest(kind):
                sent = self.instagram.create_message(params={"recipient": {"id": lucia}, "message": message})["message_id"]
                self.assertIn(sent, [one["id"] for one in self.sandbox.thread("lucia", INSTAGRAM)])
        for action in ("TYPING_ON", "MARK_SEEN"):
            self.instagram.create_message(params={"recipient": {"id": lucia}, "sender_action": action})
        shown = next(one for one in self.sandbox.thread("lucia", INSTAGRAM) if one["id"] == hello)
        self.assertEqual(shown["status"], "read")

    def test_account_posts_and_insights_are_read(self) -> None:
        self.sandbox.control("POST", f"/sandbox/instagram-accounts/{INSTAGRAM}/posts", {"kind": "reel", "caption": "New lamps", "views": 100, "likes": 7})
        account = self.instagram.api_get(fields=["username", "followers_count"])
        self.assertEqual(account["username"], "sandbox.records")
        posts = list(self.instagram.get_media(fields=["id", "caption", "media_type"]))
        self.assertEqual([(one["caption"], one["media_type"]) for one in posts], [("New lamps", "VIDEO")])
        insights = IGMedia(posts[0]["id"], api=self.instagram._api).get_insights(params={"metric": ["reach", "likes"]})
        self.assertEqual([(one["name"], one["values"][0]["value"]) for one in insights], [("reach", 80), ("likes", 7)])
        self.assertEqual(len(self.instagram.get_stories()), 0)
        self.assertEqual(self.instagram.get_content_publishing_limit(fields=["quota_usage"])[0]["quota_usage"], 0)
        container = self.instagram.create_media(params={"image_url": PHOTO, "caption": "Another"})
        self.assertTrue(container["id"])

    def test_comments_are_read_answered_hidden_and_deleted(self) -> None:
        post = self.sandbox.control("POST", f"/sandbox/instagram-accounts/{INSTAGRAM}/posts", {"kind": "image", "caption": "New lamps"})["id"]
        written = self.sandbox.write("lucia", INSTAGRAM, type="comment", text="Do you ship to Lyon?", mediaId=post)
        media = IGMedia(post, api=self.instagram._api)
        found = media.get_comments(fields=["id", "text", "username", "hidden"])
        self.assertEqual([(one["id"], one["text"], one["hidden"]) for one in found], [(written, "Do you ship to Lyon?", False)])
        comment = IGComment(written, api=self.instagram._api)
        reply = comment.create_reply(params={"message": "We do."})
        self.assertEqual([(one["id"], one["text"]) for one in comment.get_replies(fields=["id", "text"])], [(reply["id"], "We do.")])
        comment.api_update(params={"hide": True})
        self.assertTrue(IGComment(written, api=self.instagram._api).api_get(fields=["hidden"])["hidden"])
        self.instagram.create_message(params={"recipient": {"comment_id": written}, "message": {"text": "Here is the link."}})
        self.assertIn("Here is the link.", [one.get("text") for one in self.sandbox.thread("lucia", INSTAGRAM)])
        media.create_comment(params={"message": "Back on Monday"})
        comment.api_delete()
        self.assertEqual([one["text"] for one in media.get_comments(fields=["text"])], ["Back on Monday"])

    def test_a_mention_is_read_and_answered(self) -> None:
        written = self.sandbox.write("lucia", INSTAGRAM, type="mention", text="@sandbox.records again")
        field = f"mentioned_comment.comment_id({written}){{text,username,media}}"
        found = self.instagram.api_get(fields=[field])["mentioned_comment"]
        self.assertEqual((found["text"], found["username"]), ("@sandbox.records again", self.sandbox.customer("lucia")["username"]))
        answered = self.instagram.create_mention(params={"media_id": found["media"]["id"], "comment_id": written, "message": "Thank you!"})
        self.assertTrue(answered["id"])

    def test_conversations_are_read_back(self) -> None:
        lucia = self.sandbox.customer("lucia")["igsid"]
        hello = self.sandbox.write("lucia", INSTAGRAM, type="text", text="Hi")
        found = self.instagram.get_conversations(
            fields=["id", "messages{id,message,from}"], params={"platform": "INSTAGRAM", "user_id": lucia}
        )
        message = found[0]["messages"]["data"][0]
        self.assertEqual((message["id"], message["message"], message["from"]["id"]), (hello, "Hi", lucia))

    def test_a_token_is_refreshed_by_its_general_call(self) -> None:
        fresh = self.instagram._api.call("GET", ("refresh_access_token",), params={"grant_type": "ig_refresh_token"}).json()
        self.assertEqual((fresh["token_type"], fresh["expires_in"]), ("bearer", 5184000))
        renewed = IGUser("me", api=FacebookAdsApi(FacebookSession(INSTAGRAM_APP, INSTAGRAM_SECRET, fresh["access_token"])))
        self.assertEqual(renewed.api_get(fields=["username"])["username"], "sandbox.records")

    def test_an_account_is_subscribed_and_read_back(self) -> None:
        self.instagram.create_subscribed_app(params={"subscribed_fields": ["messages", "comments"]})
        found = self.instagram.get_subscribed_apps()[0]
        self.assertEqual((found["app_id"], found["subscribed_fields"]), (INSTAGRAM_APP, ["messages", "comments"]))
