"""Take the picture of the chat's page that the documentation shows: ``python -m tests.browser.picture``."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect
from tests.browser.studio import Studio
from tests.browser.test_page import enter, house, log_in, said, say, visit

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "chat.png"


async def take(studio: Studio) -> None:
    screen = {"viewport": {"width": 1100, "height": 620}, "device_scale_factor": 1.5, "locale": "en-GB"}
    async with (
        house() as chat,
        chat.client() as game,
        visit(studio, chat.address) as bob,
        visit(studio, chat.address, "Ana", **screen) as ana,
    ):
        await enter(game, "Kiosk 3")
        await log_in(bob, "Bob")
        await game.send('<join room="exhibits"/>')
        await say(ana, "Hello! Is the kiosk in hall 3 up again?")
        await said(ana, 1)
        await game.send('<say room="lobby">&lt;status up="true"/&gt;</say>')
        await said(bob, 2)
        await say(bob, "Yes. It runs the old Flash movie in AIR, and I am at the web page.")
        await said(bob, 3)
        await say(bob, "Same room, same port.")
        await said(ana, 4)
        await say(ana, "Lovely. Then nobody had to touch it.")
        await said(ana, 5)
        await bob.get_by_role("button", name="Talk in private to Ana").click()
        await say(bob, "Coffee?")
        await expect(ana.locator("#talks button")).to_be_visible()
        await ana.locator("#rooms button").first.click()  # asks for the rooms
        await expect(ana.locator("#rooms li")).to_have_count(2)
        PICTURE.parent.mkdir(exist_ok=True)
        await ana.screenshot(path=PICTURE)


if __name__ == "__main__":
    studio = Studio()
    studio.open()
    try:
        studio.run(take(studio))
    finally:
        studio.close()
