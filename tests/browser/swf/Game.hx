import flash.display.Sprite;
import flash.events.DataEvent;
import flash.events.Event;
import flash.events.IOErrorEvent;
import flash.net.URLLoader;
import flash.net.URLRequest;
import flash.net.XMLSocket;
import flash.text.TextField;

/** A game as people have it: its FlashVars say where the server is, it loads a file, and shows what it hears. */
class Game extends Sprite {
	static function main() {
		var shown = new TextField();
		shown.width = 550;
		shown.height = 400;
		flash.Lib.current.addChild(shown);
		var given:Dynamic = flash.Lib.current.loaderInfo.parameters;
		var loader = new URLLoader();
		loader.addEventListener(Event.COMPLETE, function(_) {
			var socket = new XMLSocket();
			socket.addEventListener(Event.CONNECT, function(_) socket.send(given.player + " " + loader.data));
			socket.addEventListener(DataEvent.DATA, function(event:DataEvent) shown.appendText(event.data + "\n"));
			socket.addEventListener(Event.CLOSE, function(_) shown.appendText("closed\n"));
			socket.connect(given.host, Std.parseInt(given.port));
		});
		loader.addEventListener(IOErrorEvent.IO_ERROR, function(event:IOErrorEvent) shown.appendText(event.text));
		loader.load(new URLRequest("levels/level 1.xml"));
	}
}
